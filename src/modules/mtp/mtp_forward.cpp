#include <utility>

#include "modules/mtp/mtp.hpp"
#include "ops/concat.hpp"
#include "ops/linear.hpp"

namespace meshseek {

Mtp::Mtp(const HfConfig& hf, const MeshDevice& mesh) : embedding_(hf, mesh), norm_(hf, mesh), block_(hf, mesh), lm_head_(hf, mesh) {}

Mtp::Output Mtp::forward(const Tensor& hidden, const Tensor& next_ids, const Config& cfg, const RopeTables& tables,
                         LatentCache& cache) const {
  const Tensor e = norm_.forward(embedding_.forward(next_ids, cfg.embedding), cfg.enorm);  // [T, hidden_size]
  const Tensor h = norm_.forward(hidden, cfg.hnorm);                                       // [T, hidden_size]
  const Tensor u = linear(concat(e, h, cfg.concat), cfg.eh_proj);                          // [T, hidden_size]
  LatentCache* one = &cache;
  DecoderBlock::Output block = block_.forward(u, cfg.block, tables, LatentCaches(&one, 1));  // [T, hidden_size]
  Tensor logits = lm_head_.forward(norm_.forward(block.h, cfg.norm), cfg.lm_head);           // [T, vocab_size]
  return {std::move(logits), std::move(block.h)};
}

}  // namespace meshseek
