// Weight configs from hostile files: expanding, folding and expanding again gives the same tree, and the merge ends in a ConfigError, not worse.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/error.hpp"
#include "modules/mlp/mlp.hpp"
#include "stage3_run/create_run_config.hpp"

namespace meshseek {
extern const std::size_t kJsonStart;
const std::size_t kJsonStart = 0;  // for json_mutator.cpp
}  // namespace meshseek

using namespace meshseek;

namespace {

struct Block {
  std::optional<Mlp::Config> mlp = {};
  std::optional<LinearConfig> head = {};
  static constexpr auto fields() { return std::tuple{field("mlp", &Block::mlp, "block"), field("head", &Block::head, "head")}; }
};

struct Stack {
  std::vector<Block> layers = {};
  static constexpr auto fields() { return std::tuple{field("layers", &Stack::layers, "blocks")}; }
};

/// A model config that the weights may fit.
Tree model_config() {
  LinearConfig linear;
  linear.input_tensor_b.shape = {32, 32};
  linear.program_rule = MatmulProgramRule{};
  Mlp::Config mlp;
  mlp.w1 = mlp.w2 = mlp.w3 = linear;
  Stack stack;
  stack.layers = {Block{mlp, linear}, Block{mlp, {}}};
  return to_tree(stack);
}

/// The expanded tree; empty when the file is refused with the one error that is allowed.
std::optional<Tree> expanded_weights(const Tree& weights) {
  try {
    return expand_tree(weights, {}, LayerPlaceholder::substitute, "model");
  } catch (const ConfigError&) {
    return std::nullopt;
  }
}

std::optional<Tree> parsed_weights(std::string_view text) {
  try {
    return parse_json(text, "fuzz");
  } catch (const ConfigError&) {
    return std::nullopt;
  }
}

void check_merge_is_refused(const Tree& weights) {
  static const Tree kModel = model_config();
  WeightLoader loader("/nonexistent", {});
  try {
    create_run_config<Stack>(kModel, weights, "model", loader);
  } catch (const ConfigError&) {
    return;
  }
  std::abort();  // there is no such store
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::optional<Tree> weights = parsed_weights({reinterpret_cast<const char*>(data), size});
  if (!weights) return 0;
  if (const std::optional<Tree> expanded = expanded_weights(*weights)) {
    // What was expanded once can be folded and expanded again: an exception here is a finding.
    const Tree folded = fold_ranges(*expanded);
    if (expand_tree(folded) != *expanded || fold_ranges(folded) != folded) std::abort();
  }
  check_merge_is_refused(*weights);
  return 0;
}
