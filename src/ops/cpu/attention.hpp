/// Attention of one query vector over visible keys and values.
#pragma once
#include <cstdint>
#include <vector>

namespace meshseek::cpu {

/// Keys and values of one head as float32 rows.
struct KeysAndValues {
  const float* keys = nullptr;  ///< [S, key_stride], zero-padded to a multiple of 16
  std::int64_t key_stride = 0;
  const float* values = nullptr;  ///< [S, value_stride]
  std::int64_t value_stride = 0;
  std::int64_t value_dim = 0;
};

/// out = softmax(scale q K^T) V over the first `num_visible` rows; float32 throughout, the sum of the exponentials in float64.
/// \param q [key_stride], zero-padded; \param scores scratch; \param out [value_dim]
void attend(const float* q, const KeysAndValues& kv, std::int64_t num_visible, double scale, std::vector<float>& scores, float* out);

}  // namespace meshseek::cpu
