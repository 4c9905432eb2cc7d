/// The collectives of a pass over a mesh, counted from the shape of the model: what docs/mesh.md says of each module, as numbers.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "hf/hf_config.hpp"
#include "mesh/mesh_shape.hpp"
#include "modules/pipeline/pipeline.hpp"

namespace meshseek::cli {

/// A count as a factor of a cost.
inline double real(std::int64_t count) { return static_cast<double>(count); }

/// Equal calls of one collective in one pass, each to each (Topology::Direct). What a device sends is that of the busiest one.
struct Collective {
  std::string_view op = {};  ///< as Communicator's observer names it
  int axis = 1;              ///< 0: devices of a column, 1: devices of a row
  double calls = 1.0;
  double rounds = 1.0;    ///< of one call: exchanges, each of which waits for the one before
  double messages = 0.0;  ///< of one call: that a device sends in all rounds
  double bytes = 0.0;     ///< of one call: that a device sends
};

/// The tokens of a pass on the devices that share a layer.
struct PassTokens {
  bool decode = true;
  std::int64_t of_row = 1;          ///< of the row that has most
  std::int64_t ends = 1;            ///< of these: those that pass through the last layer's feed-forward block and the head
  std::int64_t ends_of_others = 0;  ///< the same of the busiest row but the first, which has the logits
};

/// \param mesh the devices that share a layer  \param stage the layers of this row of a pipeline, or all
/// \param deterministic outputs are cut, and inputs gathered, where terms would be added up
std::vector<Collective> collectives_of_pass(const HfConfig& hf, const MeshShape& mesh, bool deterministic, const Pipeline::Stage& stage,
                                            const PassTokens& tokens);

/// What a row of a pipeline sends on: its tokens' residual stream, or the last row's logits. \param num_values of one token
Collective hop(std::int64_t num_tokens, std::int64_t num_values);

}  // namespace meshseek::cli
