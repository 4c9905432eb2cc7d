#include "mesh/shards.hpp"
#include "modules/embedding/embedding.hpp"

namespace meshseek {

Embedding::Config Embedding::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  return {.weight = {.shape = {hf.vocab_size, column_piece(hf.hidden_size, mesh.shape)}}, .dtype = DataType::float32};
}

Embedding::Config Embedding::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return prefill_model_config(hf, mesh); }

}  // namespace meshseek
