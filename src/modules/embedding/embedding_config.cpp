#include "modules/embedding/embedding.hpp"

namespace meshseek {

Embedding::Config Embedding::prefill_model_config(const HfConfig& hf, const MeshDevice&) {
  return {.weight = {.shape = {hf.vocab_size, hf.hidden_size}}, .dtype = DataType::float32};
}

Embedding::Config Embedding::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return prefill_model_config(hf, mesh); }

}  // namespace meshseek
