#include "modules/model/model.hpp"

namespace meshseek {

Model::Config Model::prefill_model_config(const HfConfig& hf, const MeshDevice& whole_mesh, ParallelPlan plan) {
  const MeshDevice mesh = weight_mesh(whole_mesh, plan);
  Config config;
  config.embedding = Embedding::prefill_model_config(hf, mesh);
  for (std::int64_t layer_idx = 0; layer_idx < hf.num_hidden_layers; ++layer_idx) {
    config.layers.push_back(DecoderBlock::prefill_model_config(hf, hf.is_moe_layer(layer_idx), mesh));
  }
  config.norm = RmsNorm::prefill_model_config({hf.hidden_size, hf.rms_norm_eps}, mesh);
  config.lm_head = LmHead::prefill_model_config(hf, mesh);
  config.mtp.assign(static_cast<std::size_t>(hf.num_nextn_predict_layers), Mtp::prefill_model_config(hf, mesh));
  if (mesh.shape.cols > 1) {
    config.distributed_rms_norm = DistributedRmsNorm::prefill_model_config(hf, mesh);
    config.lm_head_1d = LmHead1d::prefill_model_config(hf, mesh);
  }
  if (mesh.shape.rows > 1) config.row_split = RowSplit::prefill_model_config(hf, mesh);
  if (whole_mesh.shape.rows > mesh.shape.rows) config.pipeline = Pipeline::prefill_model_config(hf, whole_mesh);
  return config;
}

Model::Config Model::decode_model_config(const HfConfig& hf, const MeshDevice& whole_mesh, ParallelPlan plan) {
  const MeshDevice mesh = weight_mesh(whole_mesh, plan);
  Config config;
  config.mode = Mode::decode;
  config.embedding = Embedding::decode_model_config(hf, mesh);
  for (std::int64_t layer_idx = 0; layer_idx < hf.num_hidden_layers; ++layer_idx) {
    config.layers.push_back(DecoderBlock::decode_model_config(hf, hf.is_moe_layer(layer_idx), mesh));
  }
  config.norm = RmsNorm::decode_model_config({.dim = hf.hidden_size, .epsilon = hf.rms_norm_eps, .feeds_products = true}, mesh);
  config.norm.memory_config = DRAM_MEMORY_CONFIG;  // the final hidden state leaves the model
  config.lm_head = LmHead::decode_model_config(hf, mesh);
  config.mtp.assign(static_cast<std::size_t>(hf.num_nextn_predict_layers), Mtp::decode_model_config(hf, mesh));
  if (mesh.shape.cols > 1) {
    config.distributed_rms_norm = DistributedRmsNorm::decode_model_config(hf, mesh);
    config.lm_head_1d = LmHead1d::decode_model_config(hf, mesh);
  }
  if (mesh.shape.rows > 1) config.row_split = RowSplit::decode_model_config(hf, mesh);
  if (whole_mesh.shape.rows > mesh.shape.rows) config.pipeline = Pipeline::decode_model_config(hf, whole_mesh);
  return config;
}

}  // namespace meshseek
