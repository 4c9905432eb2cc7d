/// Stored values to float32, in tight loops.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "hf/safetensors.hpp"

namespace meshseek {

/// Values of a F32, F16, BF16, F64, F8_E4M3 or F8_E8M0 tensor without any scale; F64 is rounded. `bytes` need no alignment.
/// \throws Error for an integer dtype.
std::vector<float> widen(const HfTensor& tensor);
/// The same for a part of a tensor: bytes.size() / element_bytes(dtype) values.
void widen(HfDtype dtype, std::span<const std::byte> bytes, std::span<float> out);

/// Rows of a matrix of e4m3 codes, and the scales of the blocks of the whole matrix; edge blocks are partial.
struct BlockScaled {
  std::span<const std::byte> codes = {};  ///< [num_rows, cols], row-major: the rows from first_row on
  std::int64_t first_row = 0;
  std::int64_t num_rows = 0;
  std::int64_t cols = 0;  ///< of the matrix
  std::int64_t block_rows = 1;
  std::int64_t block_cols = 1;
  std::span<const float> scales = {};  ///< [ceil(rows / block_rows), ceil(cols / block_cols)]
};

/// code x scale, rounded once to float32, for the columns first_col .. first_col + num_cols - 1; they are multiplied although the checkpoints call the scale
/// "inverse". The codes 0x7F and 0xFF give NaN. \param out [num_rows, num_cols]
void dequantise(const BlockScaled& matrix, std::int64_t first_col, std::int64_t num_cols, std::span<float> out);

/// Index of the first value that is NaN or infinite.
std::optional<std::size_t> find_non_finite(std::span<const float> values);

}  // namespace meshseek
