#include <utility>

#include "modules/decoder_block/decoder_block.hpp"
#include "ops/binary.hpp"

namespace meshseek {

DecoderBlock::DecoderBlock(const HfConfig& hf, const MeshDevice& mesh) : norm_(hf, mesh), mla_(hf, mesh), mlp_(hf, mesh), moe_(hf, mesh) {}

DecoderBlock::Output DecoderBlock::forward(const Tensor& h, const Config& cfg, const RopeTables& tables, LatentCache& cache) const {
  Tensor x = norm_.forward(h, cfg.input_layernorm);            // [T, hidden_size]
  Tensor attention = mla_.forward(x, cfg.mla, tables, cache);  // [T, hidden_size]
  Tensor middle = binary(h, attention, cfg.mla_residual);      // [T, hidden_size]
  attention.deallocate();
  x = norm_.forward(middle, cfg.post_attention_layernorm);  // [T, hidden_size]
  if (cfg.moe) {
    Moe::Output ffn = moe_.forward(x, *cfg.moe);  // [T, hidden_size]
    return {binary(middle, ffn.y, cfg.ffn_residual), std::move(ffn.routing)};
  }
  const Tensor ffn = mlp_.forward(x, *cfg.mlp);  // [T, hidden_size]
  return {binary(middle, ffn, cfg.ffn_residual), std::nullopt};
}

}  // namespace meshseek
