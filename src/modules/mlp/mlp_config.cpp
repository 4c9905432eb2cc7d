#include "mesh/shards.hpp"
#include "modules/mlp/mlp.hpp"
#include "ops/standard_linear_config.hpp"

namespace meshseek {
namespace {

/// Block-float weights times int8 activations: both lose about as much, and it is the fastest path.
constexpr MathFidelity kFidelity = MathFidelity::LoFi;

/// [out, in] of w2 on one device of the mesh: it is cut along its inputs, or along its outputs.
Shape down_shape(std::int64_t hidden_size, std::int64_t inner_size, const MeshDevice& mesh) {
  if (mesh.joins_outputs()) return {column_piece(hidden_size, mesh.shape), inner_size};
  return {hidden_size, column_piece(inner_size, mesh.shape)};
}

bool sums_terms(const MeshDevice& mesh) { return mesh.shape.cols > 1 && !mesh.joins_outputs(); }

}  // namespace

Mlp::Config prefill_gated_mlp_config(std::int64_t hidden_size, std::int64_t inner_size, const MeshDevice& mesh) {
  const std::int64_t inner = column_piece(inner_size, mesh.shape);
  Mlp::Config config;
  // Each program_config is dynamic: program_rule makes it from the number of tokens.
  config.w1 = prefill_linear_config({inner, hidden_size}, kFidelity, mesh.device);
  config.w3 = prefill_linear_config({inner, hidden_size}, kFidelity, mesh.device);
  config.mul = {.input_tensor_a_activations = {UnaryOpType::SILU}};
  config.w2 = prefill_linear_config(down_shape(hidden_size, inner_size, mesh), kFidelity, mesh.device);
  if (sums_terms(mesh)) config.w2.dtype = DataType::float32;
  return config;
}

Mlp::Config decode_gated_mlp_config(std::int64_t hidden_size, std::int64_t inner_size, const MeshDevice& mesh) {
  const std::int64_t inner = column_piece(inner_size, mesh.shape);
  Mlp::Config config;
  config.w1 = decode_linear_config({inner, hidden_size}, kFidelity, mesh.device);
  config.w3 = decode_linear_config({inner, hidden_size}, kFidelity, mesh.device);
  // The core that computed a slice of gate and up multiplies it.
  config.mul = {.input_tensor_a_activations = {UnaryOpType::SILU}, .memory_config = config.w1.memory_config};
  config.w2 = decode_linear_config(down_shape(hidden_size, inner_size, mesh), kFidelity, mesh.device);
  if (sums_terms(mesh)) config.w2.dtype = DataType::float32;
  return config;
}

Mlp::Config Mlp::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  return prefill_gated_mlp_config(hf.hidden_size, hf.intermediate_size, mesh);
}

Mlp::Config Mlp::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  return decode_gated_mlp_config(hf.hidden_size, hf.intermediate_size, mesh);
}

}  // namespace meshseek
