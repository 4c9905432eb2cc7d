/// Attention of a few query vectors over the keys and values they see.
#pragma once
#include <cstdint>
#include <vector>

namespace meshseek::cpu {

/// Keys and values of one head as float32 rows.
struct KeysAndValues {
  const float* keys = nullptr;  ///< [S, key_stride], zero-padded to a multiple of 16
  std::int64_t key_stride = 0;
  const float* values = nullptr;  ///< [S, value_stride]; what lies behind the value is computed too, and not used
  std::int64_t value_stride = 0;  ///< a multiple of 16
};

/// Query vectors that share keys and values: batching them saves loads. A query's result does not depend on the others.
struct Queries {
  static constexpr std::int64_t kMax = 4;

  Queries(std::int64_t query_stride, std::int64_t result_stride);

  float* query(std::int64_t idx) { return queries.data() + idx * key_stride; }
  const float* result(std::int64_t idx) const { return results.data() + idx * value_stride; }

  std::int64_t key_stride = 0;
  std::int64_t value_stride = 0;
  std::int64_t count = 0;           ///< queries in use
  std::int64_t visible[kMax] = {};  ///< rows that each query sees: the first ones, at least 1
  std::vector<float> queries = {};  ///< [kMax, key_stride], zero-padded
  std::vector<float> scores = {};   ///< scratch
  std::vector<float> results = {};  ///< [kMax, value_stride]
};

/// results = softmax(scale q K^T) V, each query over its visible rows; float32 throughout, the sum of the exponentials in float64.
void attend(Queries& queries, const KeysAndValues& kv, double scale);

}  // namespace meshseek::cpu
