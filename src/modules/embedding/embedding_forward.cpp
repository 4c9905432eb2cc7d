#include "modules/embedding/embedding.hpp"
#include "ops/embedding.hpp"

namespace meshseek {

Tensor Embedding::forward(const Tensor& ids, const Config& cfg) const {
  return embedding(ids, cfg);  // [T, hidden_size]
}

}  // namespace meshseek
