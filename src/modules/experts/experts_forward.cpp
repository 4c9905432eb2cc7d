#include "modules/experts/experts.hpp"
#include "ops/binary.hpp"
#include "ops/linear.hpp"

namespace meshseek {

Tensor Experts::forward(const Tensor& rows, std::span<const std::int64_t> offsets, const Config& cfg) const {
  Tensor gate = grouped_linear(rows, offsets, cfg.w1);  // [R, inner]
  Tensor up = grouped_linear(rows, offsets, cfg.w3);    // [R, inner]
  Tensor inner = mul(gate, up, cfg.mul);                // [R, inner]
  gate.deallocate();
  up.deallocate();
  return grouped_linear(inner, offsets, cfg.w2);  // [R, hidden_size]
}

}  // namespace meshseek
