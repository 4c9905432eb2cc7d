#include <utility>

#include "modules/decoder_block/decoder_block.hpp"
#include "ops/binary.hpp"

namespace meshseek {

DecoderBlock::DecoderBlock(const HfConfig& hf, const MeshDevice& mesh)
    : norm_(hf, mesh),
      mla_(hf, mesh),
      mlp_(hf, mesh),
      moe_(hf, mesh),
      distributed_rms_norm_(hf, mesh),
      mla_1d_(hf, mesh),
      mla_2d_(hf, mesh),
      mlp_1d_(hf, mesh),
      moe_1d_(hf, mesh),
      moe_ep_(hf, mesh) {}

Tensor DecoderBlock::normed(const Tensor& x, const RmsNormConfig& norm, const Config& cfg) const {
  return cfg.distributed_rms_norm ? distributed_rms_norm_.forward(x, norm, *cfg.distributed_rms_norm) : norm_.forward(x, norm);
}

Tensor DecoderBlock::attention(const Tensor& x, const Config& cfg, const RopeTables& tables, LatentCaches caches) const {
  if (cfg.mla_2d) return mla_2d_.forward(x, cfg.mla, *cfg.mla_2d, tables, caches);
  return cfg.mla_1d ? mla_1d_.forward(x, cfg.mla, *cfg.mla_1d, tables, caches) : mla_.forward(x, cfg.mla, tables, caches);
}

Moe::Output DecoderBlock::mixture(const Tensor& x, const Config& cfg) const {
  if (cfg.moe_ep) return moe_ep_.forward(x, *cfg.moe, *cfg.moe_ep);
  return cfg.moe_1d ? moe_1d_.forward(x, *cfg.moe, *cfg.moe_1d) : moe_.forward(x, *cfg.moe);
}

DecoderBlock::Output DecoderBlock::forward(const Tensor& h, const Config& cfg, const RopeTables& tables, LatentCaches caches,
                                           Rows rows) const {
  const std::int64_t num_tokens = h.dim(0);
  const std::int64_t first = rows == Rows::all ? 0 : rows == Rows::last ? num_tokens - 1 : num_tokens;  // R = T - first rows go on
  Tensor x = normed(h, cfg.input_layernorm, cfg);                                                       // [T, hidden_size]
  Tensor attended = attention(x, cfg, tables, caches);                                                  // [T, hidden_size]
  Tensor middle = binary(h.slice_rows(first, num_tokens), attended.slice_rows(first, num_tokens), cfg.mla_residual);  // [R, hidden_size]
  attended.deallocate();
  x = normed(middle, cfg.post_attention_layernorm, cfg);  // [R, hidden_size]
  if (cfg.moe) {
    Moe::Output ffn = mixture(x, cfg);  // [R, hidden_size]
    return {binary(middle, ffn.y, cfg.ffn_residual), std::move(ffn.routing)};
  }
  const Tensor ffn = cfg.mlp_1d ? mlp_1d_.forward(x, *cfg.mlp, *cfg.mlp_1d) : mlp_.forward(x, *cfg.mlp);  // [R, hidden_size]
  return {binary(middle, ffn, cfg.ffn_residual), std::nullopt};
}

}  // namespace meshseek
