#include "modules/pipeline/pipeline.hpp"

namespace meshseek {
namespace {

/// Each chunk decodes the weights again and expands the keys and values of all tokens before it: smaller ones cost more than busy rows give back.
constexpr std::int64_t kChunkTokens = 512;

}  // namespace

Pipeline::Config Pipeline::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config = {.chunk_tokens = kChunkTokens,
                   .send = {.cluster_axis = 0},
                   .recv = {.cluster_axis = 0},
                   .send_result = {.cluster_axis = 0},
                   .recv_result = {.cluster_axis = 0}};
  // The first rows have one layer more where the rows do not divide them: the last one has the head.
  const std::int64_t few = hf.num_hidden_layers / mesh.shape.rows;
  const std::int64_t num_longer = hf.num_hidden_layers % mesh.shape.rows;
  for (std::int64_t row = 0; row < mesh.shape.rows; ++row)
    config.layer_map.insert(config.layer_map.end(), static_cast<std::size_t>(few + (row < num_longer ? 1 : 0)), row);
  return config;
}

Pipeline::Config Pipeline::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config = prefill_model_config(hf, mesh);
  config.chunk_tokens = 0;
  return config;
}

}  // namespace meshseek
