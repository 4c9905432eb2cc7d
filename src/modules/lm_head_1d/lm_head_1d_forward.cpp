#include "modules/lm_head_1d/lm_head_1d.hpp"
#include "ops/collectives.hpp"
#include "ops/concat.hpp"

namespace meshseek {

LmHead1d::LmHead1d(const HfConfig& hf, const MeshDevice& mesh) : vocab_size_(hf.vocab_size), columns_(hf, mesh), head_(hf, mesh) {}

Tensor LmHead1d::forward(const Tensor& x, const LmHead::Config& head, const Config& cfg) const {
  const Tensor tokens = columns_.whole(x, cfg.all_gather);    // [T, hidden_size]
  const Tensor part = head_.forward(tokens, head);            // [T, piece of vocab_size]
  const Tensor logits = all_gather(part, cfg.gather_logits);  // [T, pieces of all columns]
  return logits.dim(1) == vocab_size_ ? logits : slice_columns(logits, 0, vocab_size_);
}

}  // namespace meshseek
