// Safetensors from hostile files: refused with an Error, or every tensor can be read to its last byte and widened.
#include "hf/safetensors.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "accept.hpp"
#include "hf/dequantise.hpp"

using namespace meshseek;

namespace {

constexpr std::int64_t kBlock = 128;

/// An FP8 matrix as StateDict reads it.
void check_blocks(const HfTensor& tensor) {
  const std::int64_t rows = tensor.shape[0];
  const std::int64_t cols = tensor.shape[1];
  const std::vector<float> scales(static_cast<std::size_t>(ceil_div(rows, kBlock) * ceil_div(cols, kBlock)), 0.5F);
  std::vector<float> values(tensor.bytes.size());
  dequantise({.codes = tensor.bytes, .num_rows = rows, .cols = cols, .block_rows = kBlock, .block_cols = kBlock, .scales = scales}, 0, cols,
             values);
}

void check_tensor(const HfTensor& tensor) {
  touch(tensor.bytes);
  if (tensor.dtype == HfDtype::I32 || tensor.dtype == HfDtype::I64) return;
  const std::vector<float> values = widen(tensor);
  if (values.size() * element_bytes(tensor.dtype) != tensor.bytes.size()) std::abort();
  if (const auto bad = find_non_finite(values); bad && *bad >= values.size()) std::abort();
  if (tensor.dtype == HfDtype::F8_E4M3 && tensor.shape.size() == 2 && !values.empty()) check_blocks(tensor);
}

/// The length of the header as the file gives it.
std::uint64_t header_length(std::span<const std::byte> bytes) {
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  return length;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto tensors = accept([&] { return parse_safetensors(bytes, "fuzz"); });
  if (!tensors) return kRefused;
  // From here on every exception is a finding. The data have neither holes nor overlaps, so that the sizes add up to what is there.
  std::size_t total = sizeof(std::uint64_t) + header_length(bytes);
  for (const auto& [name, tensor] : *tensors) {
    check_tensor(tensor);
    total += tensor.bytes.size();
  }
  if (total != size) std::abort();
  return 0;
}
