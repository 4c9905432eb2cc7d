/// Matrix products in float64.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace meshseek::reference {

struct LinearShape {
  std::int64_t num_tokens = 0;
  std::int64_t in = 0;
  std::int64_t out = 0;
};

/// The exact result, and the sum of the products' magnitudes: what rounding errors are measured against.
struct LinearResult {
  std::vector<double> y = {};          ///< [T, out]
  std::vector<double> magnitude = {};  ///< [T, out]
};

/// y[t, o] = sum of x[t, i] * w[o, i]. \param x [T, in]; \param w [out, in]
LinearResult linear(std::span<const float> x, std::span<const float> w, const LinearShape& shape);

/// [rows, cols] -> [cols, rows]
std::vector<float> transpose(std::span<const float> values, std::int64_t rows, std::int64_t cols);

/// Every value of rows of `in` replaced by the nearest multiple of its block's step, amax / 127 over 16 neighbours (fewer at the end of a row).
/// \param steps when not null: one per value
std::vector<float> int8_rounded(std::span<const float> x, std::int64_t in, std::vector<double>* steps = nullptr);

}  // namespace meshseek::reference
