#include <utility>

#include "mesh/shards.hpp"
#include "modules/mtp/mtp.hpp"
#include "ops/standard_linear_config.hpp"

namespace meshseek {
namespace {

Mtp::Config with_block(const HfConfig& hf, const MeshDevice& mesh, DecoderBlock::Config block) {
  const RmsNormConfig norm = RmsNorm::prefill_model_config({hf.hidden_size, hf.rms_norm_eps}, mesh);
  Mtp::Config config;
  config.embedding = Embedding::prefill_model_config(hf, mesh);
  config.enorm = norm;
  config.hnorm = norm;
  config.eh_proj = prefill_linear_config({column_piece(hf.hidden_size, mesh.shape), 2 * hf.hidden_size}, MathFidelity::HiFi2, mesh.device);
  config.eh_proj.dtype = DataType::float32;
  config.block = std::move(block);
  config.norm = norm;
  config.lm_head = LmHead::prefill_model_config(hf, mesh);
  if (mesh.shape.cols > 1) {
    config.distributed_rms_norm = DistributedRmsNorm::prefill_model_config(hf, mesh);
    if (!mesh.joins_outputs()) config.all_gather = AllGatherConfig{.cluster_axis = 1};
    config.lm_head_1d = LmHead1d::prefill_model_config(hf, mesh);
  }
  return config;
}

}  // namespace

Mtp::Config Mtp::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  return with_block(hf, mesh, DecoderBlock::prefill_model_config(hf, hf.is_moe_layer(hf.num_hidden_layers), mesh));
}

Mtp::Config Mtp::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config = with_block(hf, mesh, DecoderBlock::decode_model_config(hf, hf.is_moe_layer(hf.num_hidden_layers), mesh));
  for (LinearConfig* linear : {&config.eh_proj, &config.lm_head}) *linear = without_tiles(std::move(*linear), mesh.device);
  return config;
}

}  // namespace meshseek
