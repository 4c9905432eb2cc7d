#include "hf/generated_values.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>

#include "hf/number_formats.hpp"
#include "hf/random_stream.hpp"
#include "tensor/dtype.hpp"

namespace meshseek {
namespace {

static_assert(std::endian::native == std::endian::little, "values are stored in place and are little-endian");

// A normal value is drawn with 16 random bits: 15 choose one of the quantiles of its magnitude, the last one is the sign.
constexpr std::size_t kNumQuantiles = std::size_t{1} << 15;
constexpr std::uint64_t kQuantileMask = kNumQuantiles - 1;
constexpr std::uint64_t kSignBit = kNumQuantiles;
constexpr std::size_t kValuesPerDraw = 4;

/// Each FP8 block has one value of this many standard deviations, which gets the largest code. Trained weights have such outliers, and they are
/// what makes R1's scales as large as they are.
constexpr double kOutlier = 8.0;
constexpr double kLargestCode = 448.0;
constexpr double kBlockSpread = 0.1;  ///< blocks differ in size by up to 10 %: a scale that is read in the wrong place changes the weights
constexpr std::uint64_t kBlockStreams = std::uint64_t{1} << 40;  ///< streams of blocks come behind those of rows

template <class Code>
using Magnitudes = std::array<Code, kNumQuantiles>;

/// Magnitudes of a normal variable in the middle of each of its kNumQuantiles equally likely intervals, with a mean square of exactly 1.
Magnitudes<double> make_quantiles() {
  Magnitudes<double> quantiles = {};
  double value = 0.0;
  double squares = 0.0;
  for (std::size_t i = 0; i < kNumQuantiles; ++i) {
    const double wanted = (static_cast<double>(i) + 0.5) / static_cast<double>(kNumQuantiles);
    // Newton's method from the quantile before: erf is concave here, so that the steps stay below the solution.
    for (double step = 1.0; step > 1e-13;) {
      step = (wanted - std::erf(value / std::numbers::sqrt2)) /
             (2.0 * std::exp(-0.5 * value * value) * std::numbers::inv_sqrtpi / std::numbers::sqrt2);
      value += step;
    }
    quantiles[i] = value;
    squares += value * value;
  }
  const double correction = std::sqrt(static_cast<double>(kNumQuantiles) / squares);
  for (double& quantile : quantiles) quantile *= correction;
  return quantiles;
}

const Magnitudes<double>& normal_quantiles() {
  static const Magnitudes<double> quantiles = make_quantiles();
  return quantiles;
}

/// FP8 codes of normal values, in units in which kOutlier standard deviations are the largest code.
struct Fp8Codes {
  Magnitudes<std::uint8_t> magnitudes = {};
  double mean_square = 0.0;  ///< of what the codes stand for
};

const Fp8Codes& fp8_codes() {
  static const Fp8Codes codes = [] {
    Fp8Codes made;
    for (std::size_t i = 0; i < kNumQuantiles; ++i) {
      made.magnitudes[i] = encode_e4m3(static_cast<float>(normal_quantiles()[i] * kLargestCode / kOutlier));
      const double value = decode_e4m3(made.magnitudes[i]);
      made.mean_square += value * value / static_cast<double>(kNumQuantiles);
    }
    return made;
  }();
  return codes;
}

/// One row of signed magnitudes; the sign is the highest bit of both formats.
template <class Code>
void draw_signed(const RandomStream& stream, const Code* magnitudes, std::span<Code> row) {
  constexpr int kSignShift = 16 - 8 * static_cast<int>(sizeof(Code));
  const auto code_of = [&](std::uint64_t bits) {
    return static_cast<Code>(magnitudes[bits & kQuantileMask] | ((bits & kSignBit) >> kSignShift));
  };
  const std::size_t num_whole = row.size() / kValuesPerDraw;
  Code* out = row.data();
  for (std::size_t draw_idx = 0; draw_idx < num_whole; ++draw_idx, out += kValuesPerDraw) {
    const std::uint64_t bits = stream.bits(draw_idx);
    for (std::size_t i = 0; i < kValuesPerDraw; ++i) out[i] = code_of(bits >> (16 * i));
  }
  const std::uint64_t rest = stream.bits(num_whole);
  for (std::size_t i = 0; i < row.size() % kValuesPerDraw; ++i) out[i] = code_of(rest >> (16 * i));
}

/// The value number `col` of a row of any distribution: for small tensors.
float draw_value(const GeneratedTensor& tensor, const RandomStream& stream, std::size_t col) {
  const std::uint64_t bits = stream.bits(col / kValuesPerDraw) >> (16 * (col % kValuesPerDraw));
  double value = (static_cast<double>(bits & 0xFFFFU) + 0.5) / 32768.0 - 1.0;  // uniform in (-1, 1)
  value *= std::numbers::sqrt3;
  if (tensor.kind == ValueKind::normal) {
    value = normal_quantiles()[bits & kQuantileMask];
    if ((bits & kSignBit) != 0) value = -value;
  }
  return static_cast<float>(tensor.mean + tensor.deviation * value);
}

void draw_any(const GeneratedTensor& tensor, const RandomStream& stream, std::span<std::byte> row) {
  const std::size_t width = element_bytes(tensor.dtype);
  for (std::size_t col = 0; col < row.size() / width; ++col) {
    const float value = draw_value(tensor, stream, col);
    const std::uint16_t rounded = to_bf16(value).bits;
    std::memcpy(row.data() + col * width, tensor.dtype == HfDtype::BF16 ? static_cast<const void*>(&rounded) : &value, width);
  }
}

/// The blocks of an FP8 matrix: how large each is, and where its outlier lies.
class Blocks {
 public:
  Blocks(const GeneratedTensor& tensor, const Shape& shape, const RandomStream& stream)
      : shape_(shape), height_(tensor.block[0]), width_(tensor.block[1]), deviation_(tensor.deviation), stream_(stream) {}

  std::int64_t per_row() const { return ceil_div(shape_[1], width_); }

  float scale(std::int64_t block_row, std::int64_t block_col) const {
    const double spread = 1.0 + kBlockSpread * stream_of(block_row, block_col).symmetric(0);
    const double mean_spread = std::sqrt(1.0 + kBlockSpread * kBlockSpread / 3.0);
    const auto count = static_cast<double>(rows_of(block_row) * cols_of(block_col));
    const double mean_square = ((count - 1.0) * fp8_codes().mean_square + kLargestCode * kLargestCode) / count;
    return static_cast<float>(deviation_ * spread / mean_spread / std::sqrt(mean_square));
  }

  /// Puts the outliers of one row of blocks into `codes`, which are the matrix rows from `first_row` on.
  void put_outliers(std::int64_t block_row, std::int64_t first_row, std::span<std::byte> codes) const {
    const std::byte largest{encode_e4m3(kLargestCode)};
    for (std::int64_t block_col = 0; block_col < per_row(); ++block_col) {
      const std::uint64_t bits = stream_of(block_row, block_col).bits(1);
      const auto place = static_cast<std::int64_t>((bits >> 1) % static_cast<std::uint64_t>(rows_of(block_row) * cols_of(block_col)));
      const std::int64_t row = block_row * height_ + place / cols_of(block_col) - first_row;
      const std::int64_t col = block_col * width_ + place % cols_of(block_col);
      if (row < 0 || row * shape_[1] >= static_cast<std::int64_t>(codes.size())) continue;
      codes[static_cast<std::size_t>(row * shape_[1] + col)] = largest | std::byte{static_cast<std::uint8_t>((bits & 1U) << 7)};
    }
  }

 private:
  std::int64_t rows_of(std::int64_t block_row) const { return std::min(height_, shape_[0] - block_row * height_); }
  std::int64_t cols_of(std::int64_t block_col) const { return std::min(width_, shape_[1] - block_col * width_); }
  RandomStream stream_of(std::int64_t block_row, std::int64_t block_col) const {
    return stream_.sub(kBlockStreams + static_cast<std::uint64_t>(block_row * per_row() + block_col));
  }

  const Shape& shape_;
  std::int64_t height_;
  std::int64_t width_;
  double deviation_;
  const RandomStream& stream_;
};

template <class Code>
std::span<Code> as_codes(std::span<std::byte> bytes) {
  return {reinterpret_cast<Code*>(bytes.data()), bytes.size() / sizeof(Code)};
}

}  // namespace

MatrixSize matrix_size(const GeneratedTensor& tensor) {
  return tensor.shape.size() == 2 ? MatrixSize{tensor.shape[0], tensor.shape[1]} : MatrixSize{1, volume(tensor.shape)};
}

void ValueSource::prepare_magnitudes(double deviation) {
  if (deviation == prepared_deviation_) return;
  magnitudes_.resize(kNumQuantiles);
  for (std::size_t i = 0; i < kNumQuantiles; ++i) magnitudes_[i] = to_bf16(static_cast<float>(deviation * normal_quantiles()[i])).bits;
  prepared_deviation_ = deviation;
}

void ValueSource::draw_rows(const GeneratedTensor& tensor, std::int64_t first_row, std::int64_t num_rows, std::span<std::byte> out) {
  const RandomStream stream(seed_, tensor.values_of);
  const std::size_t row_bytes = out.size() / static_cast<std::size_t>(num_rows);
  const bool is_scales = tensor.kind == ValueKind::block_scales;
  const bool is_weight = tensor.kind == ValueKind::normal && tensor.mean == 0.0 && tensor.dtype == HfDtype::BF16;
  const Blocks blocks(tensor, is_scales ? tensor.scaled_shape : tensor.shape, stream);
  if (is_weight) prepare_magnitudes(tensor.deviation);
  for (std::int64_t row_idx = 0; row_idx < num_rows; ++row_idx) {
    const RandomStream row_stream = stream.sub(static_cast<std::uint64_t>(first_row + row_idx));
    const auto row = out.subspan(static_cast<std::size_t>(row_idx) * row_bytes, row_bytes);
    if (is_scales) {
      const auto scales = as_codes<float>(row);
      for (std::size_t col = 0; col < scales.size(); ++col) scales[col] = blocks.scale(first_row + row_idx, static_cast<std::int64_t>(col));
    } else if (tensor.dtype == HfDtype::F8_E4M3) {
      draw_signed(row_stream, fp8_codes().magnitudes.data(), as_codes<std::uint8_t>(row));
    } else if (is_weight) {
      draw_signed(row_stream, magnitudes_.data(), as_codes<std::uint16_t>(row));
    } else {
      draw_any(tensor, row_stream, row);
    }
  }
  if (tensor.dtype != HfDtype::F8_E4M3) return;
  const std::int64_t last_block_row = (first_row + num_rows - 1) / tensor.block[0];
  for (std::int64_t block_row = first_row / tensor.block[0]; block_row <= last_block_row; ++block_row) {
    blocks.put_outliers(block_row, first_row, out);
  }
}

}  // namespace meshseek
