#include "modules/rms_norm/rms_norm.hpp"

namespace meshseek {

RmsNorm::Config RmsNorm::prefill_model_config(const Spec& spec, const MeshDevice&) {
  return {.weight = {.shape = {spec.dim}}, .epsilon = spec.epsilon, .dtype = DataType::bfloat16};
}

RmsNorm::Config RmsNorm::decode_model_config(const Spec& spec, const MeshDevice& mesh) {
  Config config = prefill_model_config(spec, mesh);
  config.memory_config = L1_MEMORY_CONFIG;  // read at once by the product that follows
  const bool gives_whole_rows = mesh.shape.cols == 1 || mesh.joins_outputs();
  config.quantise = spec.feeds_products && gives_whole_rows;
  return config;
}

}  // namespace meshseek
