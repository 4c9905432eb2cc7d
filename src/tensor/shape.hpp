/// Tensor shapes.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <string>
#include <vector>

namespace meshseek {

/// Dimensions, outermost first; rank 0 to 8; every dimension >= 0. In place, because each result of an operator has one.
class Shape {
 public:
  using value_type = std::int64_t;
  static constexpr std::size_t kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims) : Shape(dims.begin(), dims.end()) {}
  Shape(const std::vector<std::int64_t>& dims)
      : Shape(dims.begin(), dims.end()) {}  // NOLINT(google-explicit-constructor): lists of configs
  /// \throws ShapeError for more than kMaxRank dimensions
  template <std::forward_iterator Iterator>
  Shape(Iterator first, Iterator last) : size_(checked_rank(std::distance(first, last))) {
    std::copy(first, last, dims_.begin());
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const std::int64_t* begin() const { return dims_.data(); }
  const std::int64_t* end() const { return dims_.data() + size_; }
  std::int64_t* begin() { return dims_.data(); }
  std::int64_t* end() { return dims_.data() + size_; }
  std::int64_t operator[](std::size_t idx) const { return dims_[idx]; }
  std::int64_t& operator[](std::size_t idx) { return dims_[idx]; }
  std::int64_t front() const { return dims_.front(); }
  std::int64_t& front() { return dims_.front(); }
  std::int64_t back() const { return dims_[size_ - 1]; }
  std::int64_t& back() { return dims_[size_ - 1]; }

  operator std::vector<std::int64_t>() const { return {begin(), end()}; }  // NOLINT(google-explicit-constructor)

  /// \throws ShapeError as above
  void push_back(std::int64_t dim) {
    size_ = checked_rank(static_cast<std::ptrdiff_t>(size_) + 1);
    back() = dim;
  }

  friend bool operator==(const Shape& a, const Shape& b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

 private:
  static std::size_t checked_rank(std::ptrdiff_t rank);

  std::array<std::int64_t, kMaxRank> dims_ = {};
  std::size_t size_ = 0;
};

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
