/// Elements of a tensor as they travel: as they are, or as another type.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/thread_team.hpp"
#include "ops/exchange/strided_part.hpp"
#include "tensor/tensor.hpp"

namespace meshseek::exchange {

/// Values that are converted or summed at once: whole blocks of kFaceSize values, which share an exponent on a wire of bfloat8_b.
inline constexpr std::int64_t kPieceValues = 1024;

/// `count` elements from `at` on as float32, from and to float32 or bfloat16 storage.
void read_floats(const std::byte* storage, DataType dtype, std::int64_t at, std::int64_t count, float* out);
void write_floats(const float* values, std::int64_t count, std::byte* storage, DataType dtype, std::int64_t at);

/// Between the elements of a tensor and bytes on the wire. A message of bfloat8_b has one exponent for each 16 values, all exponents first;
/// the last block is filled with zeros.
class Wire {
 public:
  /// \throws ShapeError when a tensor of that type cannot travel as that
  Wire(DataType tensor_dtype, std::optional<DataType> wire_dtype, std::string_view op);

  /// Whether the bytes on the wire are those of the tensor.
  bool is_plain() const { return wire_ == tensor_; }
  DataType dtype() const { return wire_; }
  DataType tensor_dtype() const { return tensor_; }
  std::int64_t num_bytes(std::int64_t count) const;

  /// Elements [begin, end) of the sequence `part` of a tensor's storage; `begin` is a multiple of 16. \param out num_bytes(end - begin)
  void encode(const std::byte* storage, const StridedPart& part, std::int64_t begin, std::int64_t end, std::byte* out,
              ThreadTeam& team) const;
  /// Values [begin, begin + count) of a message of `total`; `begin` is a multiple of 16
  void encode_floats(const float* values, std::int64_t total, std::int64_t begin, std::int64_t count, std::byte* out) const;
  /// The other way. \param in what encode() gave for all of `part`
  void decode(const std::byte* in, std::byte* storage, const StridedPart& part, ThreadTeam& team) const;
  void decode_floats(const std::byte* in, std::int64_t total, std::int64_t begin, std::int64_t count, float* out) const;

 private:
  DataType tensor_;
  DataType wire_;
};

}  // namespace meshseek::exchange
