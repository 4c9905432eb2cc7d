/// Strict reader of one `.safetensors` file.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/mapped_file.hpp"
#include "config/tree.hpp"
#include "tensor/shape.hpp"

namespace meshseek {

enum class HfDtype : std::uint8_t { F32, F16, BF16, F8_E4M3, F8_E8M0, I64, I32, F64 };

/// One tensor as stored: a view into the mapped file.
struct HfTensor {
  HfDtype dtype = HfDtype::F32;
  Shape shape = {};
  std::span<const std::byte> bytes = {};
  std::shared_ptr<const MappedFile> file = {};  ///< keeps `bytes` alive; null when the caller does (parse_safetensors)
};

/// Opens and validates a file: header <= 100 MB and valid JSON, known dtypes, checked arithmetic, shape x dtype == size, no duplicate
/// name, offsets contiguous from 0 to the end of the file without overlap or hole. Data pages are not touched.
/// \throws Error naming the file, the tensor and what is wrong.
std::map<std::string, HfTensor> read_safetensors(const Path& path);
/// The same for a file that lies in memory, which the caller keeps; errors name it `where`.
std::map<std::string, HfTensor> parse_safetensors(std::span<const std::byte> bytes, const std::string& where);

/// A tensor in a header.
struct NamedShape {
  std::string name = {};
  HfDtype dtype = HfDtype::F32;
  Shape shape = {};
};

/// What a file with these tensors, contiguous and in this order, begins with: header length and header, padded with spaces so that the
/// data start at a multiple of 8. `metadata` becomes `__metadata__` unless it is null.
/// \throws Error naming the tensor: a size beyond 63 bits, a name given twice or reserved; ConfigError: a name that is not UTF-8.
std::string safetensors_header(std::span<const NamedShape> tensors, const std::string& where, const Tree& metadata = {});

/// Bytes of a tensor's data. \throws ShapeError when they do not fit in 63 bits.
std::int64_t stored_bytes(const Shape& shape, HfDtype dtype);

/// One tensor to write.
struct NamedArray {
  std::string name = {};
  HfDtype dtype = HfDtype::F32;
  Shape shape = {};
  std::span<const std::byte> bytes = {};  ///< row-major, little-endian; volume(shape) x element_bytes(dtype) of them
};

/// Writes tensors in the same format (results of `meshseek logits`), in the given order, contiguous, atomically; the header is padded
/// with spaces so that the data start at a multiple of 8.
/// \throws Error naming the tensor: size against shape, a name given twice or reserved, a name that is not UTF-8;
/// or the path: not writable.
void write_safetensors(const Path& path, std::span<const NamedArray> arrays);

std::string_view to_string(HfDtype dtype);  ///< the name in headers: "F32", "BF16", "F8_E4M3", ...
std::size_t element_bytes(HfDtype dtype);

}  // namespace meshseek
