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

/// A matrix of e4m3 codes and the scales of its blocks; edge blocks are partial.
struct BlockScaled {
  std::span<const std::byte> codes = {};  ///< [rows, cols], row-major
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t block_rows = 1;
  std::int64_t block_cols = 1;
  std::span<const float> scales = {};  ///< [ceil(rows / block_rows), ceil(cols / block_cols)]
};

/// code x scale for every element, rounded once to float32; they are multiplied although the checkpoints call the scale "inverse".
std::vector<float> dequantise(const BlockScaled& matrix);

/// Index of the first value that is NaN or infinite.
std::optional<std::size_t> find_non_finite(std::span<const float> values);

}  // namespace meshseek
