/// Rows of values as int8, the form in which LoFi products of few rows take them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "tensor/shape.hpp"

namespace meshseek {

/// Values of a row that share one scale.
inline constexpr std::int64_t kInt8Group = 16;

/// A handle to codes of rows that are padded to whole tiles, shared by its copies: for each 16 values codes -127..127, one float32 scale, and a correction
/// that the device's products add (its kernels say which). 1.5 bytes a value.
class Int8Rows {
 public:
  Int8Rows() = default;  ///< none
  /// \param memory bytes_for(num_rows, cols) bytes, aligned to 64
  Int8Rows(std::shared_ptr<void> memory, std::int64_t num_rows, std::int64_t cols)
      : num_rows_(num_rows), padded_cols_(padded(cols)), codes_(std::static_pointer_cast<std::int8_t>(std::move(memory))) {
    scales_ = reinterpret_cast<float*>(codes_.get() + num_rows_ * padded_cols_);
    corrections_ = reinterpret_cast<std::int32_t*>(scales_ + num_rows_ * groups_per_row());
  }
  static std::size_t bytes_for(std::int64_t num_rows, std::int64_t cols) {
    return static_cast<std::size_t>(num_rows * (padded(cols) + padded(cols) / kInt8Group * 8));
  }

  bool empty() const { return codes_ == nullptr; }
  std::int64_t num_rows() const { return num_rows_; }
  std::int64_t padded_cols() const { return padded_cols_; }
  std::int64_t groups_per_row() const { return padded_cols_ / kInt8Group; }
  std::int8_t* codes(std::int64_t row) const { return codes_.get() + row * padded_cols_; }
  float* scales(std::int64_t row) const { return scales_ + row * groups_per_row(); }
  std::int32_t* corrections(std::int64_t row) const { return corrections_ + row * groups_per_row(); }

 private:
  static std::int64_t padded(std::int64_t cols) { return round_up(cols, kTileSize); }

  std::int64_t num_rows_ = 0;
  std::int64_t padded_cols_ = 0;
  std::shared_ptr<std::int8_t> codes_;
  float* scales_ = nullptr;
  std::int32_t* corrections_ = nullptr;
};

}  // namespace meshseek
