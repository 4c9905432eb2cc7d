#include "hf/generated_values.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace meshseek {
namespace {

constexpr std::int64_t kRows = 300;
constexpr std::int64_t kCols = 201;  // no whole number of draws in a row

GeneratedTensor weight(HfDtype dtype) {
  return {.name = "w", .values_of = "w", .dtype = dtype, .shape = {kRows, kCols}, .deviation = 0.01, .block = {128, 128}};
}

GeneratedTensor scales() {
  return {.name = "w_scale_inv",
          .values_of = "w",
          .dtype = HfDtype::F32,
          .shape = {3, 2},
          .kind = ValueKind::block_scales,
          .deviation = 0.01,
          .scaled_shape = {kRows, kCols},
          .block = {128, 128}};
}

GeneratedTensor uniform() {
  GeneratedTensor tensor = weight(HfDtype::BF16);
  tensor.kind = ValueKind::uniform;
  return tensor;
}

GeneratedTensor norm() {
  GeneratedTensor tensor = weight(HfDtype::BF16);
  tensor.mean = 1.0;
  return tensor;
}

/// The whole tensor, drawn in pieces of so many rows.
std::vector<std::byte> draw(ValueSource& source, const GeneratedTensor& tensor, std::int64_t rows_at_once) {
  const auto [rows, cols] = matrix_size(tensor);
  const auto row_bytes = static_cast<std::size_t>(cols) * element_bytes(tensor.dtype);
  std::vector<std::byte> all;
  for (std::int64_t row = 0; row < rows; row += rows_at_once) {
    const std::int64_t num_rows = std::min(rows_at_once, rows - row);
    std::vector<std::byte> piece(static_cast<std::size_t>(num_rows) * row_bytes);
    source.draw_rows(tensor, row, num_rows, piece);
    all.insert(all.end(), piece.begin(), piece.end());
  }
  return all;
}

TEST(GeneratedValues, APieceHasTheValuesOfItsRowsHoweverTheTensorIsCut) {
  for (const GeneratedTensor& tensor : {weight(HfDtype::BF16), weight(HfDtype::F8_E4M3), scales(), uniform(), norm()}) {
    ValueSource source(1);
    const std::vector<std::byte> whole = draw(source, tensor, kRows);
    for (const std::int64_t rows_at_once : {1, 7, 128, 200}) EXPECT_TRUE(draw(source, tensor, rows_at_once) == whole) << rows_at_once;
  }
}

TEST(GeneratedValues, DoNotDependOnWhatWasDrawnBefore) {
  ValueSource fresh(1);
  const std::vector<std::byte> expected = draw(fresh, weight(HfDtype::BF16), kRows);
  ValueSource used(1);
  GeneratedTensor other = weight(HfDtype::BF16);
  other.deviation = 3.0;
  draw(used, other, kRows);
  EXPECT_TRUE(draw(used, weight(HfDtype::BF16), kRows) == expected);
}

TEST(GeneratedValues, SeedAndNameChooseTheValues) {
  ValueSource source(1);
  ValueSource other_seed(2);
  GeneratedTensor other_name = weight(HfDtype::BF16);
  other_name.values_of = "v";
  const std::vector<std::byte> expected = draw(source, weight(HfDtype::BF16), kRows);
  EXPECT_FALSE(draw(other_seed, weight(HfDtype::BF16), kRows) == expected);
  EXPECT_FALSE(draw(source, other_name, kRows) == expected);
}

// From a restatement in Python with its own normal quantiles: whoever changes the generator changes every checkpoint that a benchmark was measured with.
TEST(GeneratedValues, StayTheSameFromVersionToVersion) {
  ValueSource source(0);
  const std::vector<std::byte> bytes = draw(source, weight(HfDtype::F8_E4M3), kRows);
  std::vector<unsigned> first;
  for (std::size_t i = 0; i < 8; ++i) first.push_back(std::to_integer<unsigned>(bytes[i]));
  EXPECT_THAT(first, ::testing::ElementsAre(212, 103, 91, 214, 213, 100, 229, 233));
}

}  // namespace
}  // namespace meshseek
