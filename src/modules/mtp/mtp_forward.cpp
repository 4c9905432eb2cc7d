#include <utility>

#include "modules/mtp/mtp.hpp"
#include "ops/concat.hpp"
#include "ops/linear.hpp"

namespace meshseek {

Mtp::Mtp(const HfConfig& hf, const MeshDevice& mesh)
    : embedding_(hf, mesh),
      norm_(hf, mesh),
      block_(hf, mesh),
      lm_head_(hf, mesh),
      columns_(hf, mesh),
      distributed_rms_norm_(hf, mesh),
      lm_head_1d_(hf, mesh) {}

Tensor Mtp::normed(const Tensor& x, const RmsNormConfig& norm, const Config& cfg) const {
  return cfg.distributed_rms_norm ? distributed_rms_norm_.forward(x, norm, *cfg.distributed_rms_norm) : norm_.forward(x, norm);
}

/// One half of the input of eh_proj. \return [T, hidden_size]
Tensor Mtp::half(const Tensor& x, const RmsNormConfig& norm, const Config& cfg) const {
  Tensor y = normed(x, norm, cfg);  // [T, hidden_size]
  return columns_.whole(y, cfg.all_gather);
}

Mtp::Output Mtp::forward(const Tensor& hidden, const Tensor& next_ids, const Config& cfg, const RopeTables& tables,
                         LatentCache& cache) const {
  const Tensor e = half(embedding_.forward(next_ids, cfg.embedding), cfg.enorm, cfg);  // [T, hidden_size]
  const Tensor h = half(hidden, cfg.hnorm, cfg);                                       // [T, hidden_size]
  const Tensor u = linear(concat(e, h, cfg.concat), cfg.eh_proj);                      // [T, hidden_size]
  LatentCache* one = &cache;
  DecoderBlock::Output block = block_.forward(u, cfg.block, tables, LatentCaches(&one, 1));  // [T, hidden_size]
  const Tensor last = normed(block.h, cfg.norm, cfg);                                        // [T, hidden_size]
  Tensor logits =
      cfg.lm_head_1d ? lm_head_1d_.forward(last, cfg.lm_head, *cfg.lm_head_1d) : lm_head_.forward(last, cfg.lm_head);  // [T, vocab_size]
  return {std::move(logits), std::move(block.h)};
}

}  // namespace meshseek
