#include <utility>

#include "modules/decoder_block/decoder_block.hpp"
#include "ops/binary.hpp"

namespace meshseek {

DecoderBlock::DecoderBlock(const HfConfig& hf, const MeshDevice& mesh) : norm_(hf, mesh), mla_(hf, mesh), mlp_(hf, mesh), moe_(hf, mesh) {}

DecoderBlock::Output DecoderBlock::forward(const Tensor& h, const Config& cfg, const RopeTables& tables, LatentCaches caches,
                                           Rows rows) const {
  const std::int64_t num_tokens = h.dim(0);
  const std::int64_t first = rows == Rows::last ? num_tokens - 1 : 0;  // R = T - first rows go on
  Tensor x = norm_.forward(h, cfg.input_layernorm);                    // [T, hidden_size]
  Tensor attention = mla_.forward(x, cfg.mla, tables, caches);         // [T, hidden_size]
  Tensor middle = binary(h.slice_rows(first, num_tokens), attention.slice_rows(first, num_tokens), cfg.mla_residual);  // [R, hidden_size]
  attention.deallocate();
  x = norm_.forward(middle, cfg.post_attention_layernorm);  // [R, hidden_size]
  if (cfg.moe) {
    Moe::Output ffn = moe_.forward(x, *cfg.moe);  // [R, hidden_size]
    return {binary(middle, ffn.y, cfg.ffn_residual), std::move(ffn.routing)};
  }
  const Tensor ffn = mlp_.forward(x, *cfg.mlp);  // [R, hidden_size]
  return {binary(middle, ffn, cfg.ffn_residual), std::nullopt};
}

}  // namespace meshseek
