/// The values of generated tensors, as they are stored.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "hf/generated_tensors.hpp"

namespace meshseek {

/// A tensor as rows: [rows, cols], or one row for a tensor of one dimension.
struct MatrixSize {
  std::int64_t rows = 1;
  std::int64_t cols = 0;
};
MatrixSize matrix_size(const GeneratedTensor& tensor);

/// Draws values. They depend on the seed, on GeneratedTensor::values_of and on the place in the tensor, and on nothing else: neither on the
/// order of calls nor on which rows are drawn together. Costs about one nanosecond a value for weights; not thread-safe.
class ValueSource {
 public:
  explicit ValueSource(std::uint64_t seed) : seed_(seed) {}

  /// Rows [first_row, first_row + num_rows) into `out`, row-major, little-endian; `out` has as many bytes as they take and is aligned for
  /// the dtype (BF16, F32 or F8_E4M3).
  void draw_rows(const GeneratedTensor& tensor, std::int64_t first_row, std::int64_t num_rows, std::span<std::byte> out);

 private:
  void prepare_magnitudes(double deviation);

  std::uint64_t seed_;
  double prepared_deviation_ = -1.0;
  std::vector<std::uint16_t> magnitudes_;  ///< bfloat16 bits of the normal quantiles times prepared_deviation_
};

}  // namespace meshseek
