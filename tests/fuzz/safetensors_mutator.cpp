// The mutator of safetensors files: changes the header as JSON, then repairs what would refuse it at once, the length and mostly the offsets.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "config/tree.hpp"
#include "hf/safetensors.hpp"
#include "json_mutation.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace meshseek {
namespace {

constexpr std::size_t kLengthBytes = sizeof(std::uint64_t);

/// Bytes of the tensor that a header entry describes; -1 when it describes none of a size worth repairing.
std::int64_t described_bytes(const Tree& entry) {
  constexpr std::int64_t kMost = 20'000;
  const Tree* const shape = entry.find("shape");
  const Tree* const dtype = entry.find("dtype");
  if (shape == nullptr || !shape->is_array() || dtype == nullptr) return -1;
  std::int64_t size = 0;
  for (const HfDtype known :
       {HfDtype::F32, HfDtype::F16, HfDtype::BF16, HfDtype::F8_E4M3, HfDtype::F8_E8M0, HfDtype::I64, HfDtype::I32, HfDtype::F64}) {
    if (*dtype == Tree(to_string(known))) size = static_cast<std::int64_t>(element_bytes(known));
  }
  for (const Tree& dim : shape->as_array("shape")) {
    if (!dim.is_integer() || dim.as_integer("") < 0 || dim.as_integer("") > kMost) return -1;
    size *= dim.as_integer("");
    if (size > kMost) return -1;
  }
  return size;
}

/// Lays the tensors one behind the other; returns the bytes of data that they need.
std::size_t repair_offsets(Tree& header) {
  std::int64_t end = 0;
  if (!header.is_object()) return 0;
  for (auto& [name, entry] : header.object()) {
    const std::int64_t size = entry.is_object() ? described_bytes(entry) : -1;
    if (size < 0) continue;
    entry.set("data_offsets", Tree::Array{end, end + size});
    end += size;
  }
  return static_cast<std::size_t>(end);
}

/// The whole file; empty when the header is no JSON.
std::string mutated_file(std::string_view file, Random& random) {
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  const std::size_t header_bytes = std::min<std::size_t>(length, file.size() - kLengthBytes);
  std::string header = mutated_json(file.substr(kLengthBytes, header_bytes), random);
  if (header.empty()) return {};
  std::string data(file.substr(kLengthBytes + header_bytes));
  if (below(random, 4) != 0) {
    Tree tree = parse_json(header, "mutator");
    data.resize(repair_offsets(tree), '\x40');
    header = to_json_line(tree);
  }
  length = header.size();
  std::string result(kLengthBytes, '\0');
  std::memcpy(result.data(), &length, kLengthBytes);
  return result + header + data;
}

}  // namespace
}  // namespace meshseek

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned int seed) {
  using namespace meshseek;
  Random random(seed);
  if (size <= kLengthBytes || below(random, 10) == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string file = mutated_file({reinterpret_cast<const char*>(data), size}, random);
  if (file.empty() || file.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, file.data(), file.size());
  return file.size();
}
