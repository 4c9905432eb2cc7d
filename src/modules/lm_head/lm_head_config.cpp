#include "mesh/shards.hpp"
#include "modules/lm_head/lm_head.hpp"
#include "ops/standard_linear_config.hpp"

namespace meshseek {

LmHead::Config LmHead::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config = prefill_linear_config({column_piece(hf.vocab_size, mesh.shape), hf.hidden_size}, MathFidelity::HiFi2, mesh.device);
  config.dtype = DataType::float32;
  return config;
}

LmHead::Config LmHead::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config = decode_linear_config({column_piece(hf.vocab_size, mesh.shape), hf.hidden_size}, MathFidelity::LoFi, mesh.device);
  config.dtype = DataType::float32;
  config.memory_config = DRAM_MEMORY_CONFIG;  // the logits leave the model
  return config;
}

}  // namespace meshseek
