/// Tensor shapes.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace meshseek {

/// Dimensions, outermost first; rank 0 to 8; every dimension >= 0.
using Shape = std::vector<std::int64_t>;

inline constexpr std::int64_t kTileSize = 32;  ///< rows and columns of a tile
inline constexpr std::int64_t kFaceSize = 16;  ///< rows and columns of a face, and the values that share one exponent

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

/// Number of elements, 1 for rank 0. \throws ShapeError on a negative dimension or when the product does not fit in 63 bits.
std::int64_t volume(const Shape& shape);
std::string to_string(const Shape& shape);  ///< "[2, 3]"
/// a * b for sizes derived from `shape`. \throws ShapeError naming the shape when the product does not fit in 63 bits.
std::int64_t checked_product(std::int64_t a, std::int64_t b, const Shape& shape);

}  // namespace meshseek
