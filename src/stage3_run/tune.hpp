/// Search for faster matmul programs: each product of a layer is run alone with other blockings, on this machine.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "config/mode.hpp"
#include "config/tree.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek {

struct TuneOptions {
  std::int64_t num_tokens = 512;  ///< rows of the prefill; decode always has one
  int repetitions = 5;            ///< rounds of measurements after the warm-up
  std::uint64_t seed = 0;         ///< of the tokens
  std::function<void(std::string_view path)> before_measuring =
      {};  ///< gets the operator whose program is measured next; may throw to end the search
};

/// One field of a program that another value makes faster.
struct ProgramChange {
  std::string program = {};  ///< "program_rule" or "program_config"
  std::string field = {};    ///< "in0_block_w", ...
  std::int64_t before = 0;
  std::int64_t after = 0;
};

/// One product of the first layer of a kind; the result holds for all layers of that kind.
struct TunedLinear {
  std::vector<std::int64_t> layers = {};  ///< ascending
  std::string name = {};                  ///< path below the layer: "mla.wo"
  std::int64_t num_rows = 0;              ///< of all matrices of a stack together
  double before_s = 0.0;
  double after_s = 0.0;                     ///< equals before_s without changes
  std::vector<ProgramChange> changes = {};  ///< empty: nothing was clearly faster

  /// "model.layers.1-8.mla.wo"
  std::string path() const;
};

/// Searches the programs of all linear() and grouped_linear() of one layer of each kind. Layers are of one kind when their configs and the element types of
/// their weights are equal. A program_rule is tried with other in0_block_w, out_subblock_h and out_subblock_w, a DRAM-sharded program_config with other
/// in0_block_w; whatever else is only measured. A change is kept when it is at least 3 % faster than the present program measured beside it.
///
/// The runner's sequence is forgotten. Weights that fit into the caches are measured there, because the same product runs again and again.
/// \throws Error as Runner::prefill(): more tokens than the capacity
std::vector<TunedLinear> tune(Runner& runner, Mode mode, const TuneOptions& options);

/// The changes as an overlay for that mode: {"mode": .., "model": {"layers": {"1-8": {..}}}}, only the fields that change.
Tree overlay_of(Mode mode, const std::vector<TunedLinear>& tuned);

}  // namespace meshseek
