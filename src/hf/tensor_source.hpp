/// Tensors by name, read in parts: what a conversion reads from.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/shape.hpp"

namespace meshseek {

/// Rows of one tensor seen as a matrix of rows of its last dimension; a vector is one row.
struct SourceRows {
  std::string tensor = {};
  std::int64_t first_row = 0;
  std::int64_t num_rows = 0;
};

/// A part of such a matrix.
struct MatrixPart {
  std::int64_t first_row = 0;
  std::int64_t num_rows = 0;
  std::int64_t first_col = 0;
  std::int64_t num_cols = 0;
};

/// By what a source is recognised as unchanged.
enum class Trust : std::uint8_t {
  size_mtime,  ///< name, size and modification time of its file
  content,     ///< SHA-256 of its bytes
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;

  virtual bool contains(std::string_view name) const = 0;
  /// Everything that can be known of a tensor without its values. \throws Error, ShapeError: absent, another shape, a dtype that is no weight's.
  virtual void check(std::string_view name, const Shape& expected) const = 0;
  /// Fills `out` with part.num_rows x part.num_cols float32 values, row-major. Thread-safe; memory: the stored form of the rows.
  /// \throws Error: unreadable, values that cannot be weights
  virtual void read(std::string_view name, const MatrixPart& part, std::span<float> out) const = 0;
  /// A text that is another one when the tensor may be another one. Trust::content reads all of it. Thread-safe.
  virtual std::string identity(std::string_view name, Trust trust) const = 0;
  /// Name of the file that holds it.
  virtual std::string file_of(std::string_view name) const = 0;
};

/// Rows of one source, one after the other; nothing has been read yet.
struct WeightRows {
  const TensorSource* source = nullptr;
  std::vector<SourceRows> rows = {};
};

}  // namespace meshseek
