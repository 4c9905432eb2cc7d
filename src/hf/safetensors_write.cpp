#include <fmt/format.h>

#include <cstdint>
#include <set>
#include <vector>

#include "base/error.hpp"
#include "base/file.hpp"
#include "config/tree.hpp"
#include "hf/quote_name.hpp"
#include "hf/safetensors.hpp"

namespace meshseek {
namespace {

constexpr std::size_t kAlignment = 8;

void check_array(const NamedArray& array, const std::string& where, std::set<std::string_view>& seen) {
  if (array.name == "__metadata__" || !seen.insert(array.name).second) {
    throw Error(fmt::format("[{}] the tensor name {} is reserved or given twice; expected a name of its own for each", where,
                            quote_name(array.name)));
  }
  std::size_t needed = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(volume(array.shape)), element_bytes(array.dtype), &needed) ||
      needed != array.bytes.size()) {
    throw Error(fmt::format("[{}: {}] has {} bytes, but shape {} of {} needs {}", where, quote_name(array.name), array.bytes.size(),
                            to_string(array.shape), to_string(array.dtype), needed));
  }
}

/// The JSON header, padded, for tensors that lie one behind the other.
std::string make_header(std::span<const NamedArray> arrays, const std::string& where) {
  std::set<std::string_view> seen;
  Tree::Object tensors;
  std::int64_t offset = 0;
  for (const NamedArray& array : arrays) {
    check_array(array, where, seen);
    const std::int64_t end = offset + static_cast<std::int64_t>(array.bytes.size());
    Tree tensor(Tree::Object{});
    tensor.set("dtype", to_string(array.dtype));
    tensor.set("shape", Tree::Array(array.shape.begin(), array.shape.end()));
    tensor.set("data_offsets", Tree::Array{offset, end});
    tensors.emplace_back(array.name, std::move(tensor));
    offset = end;
  }
  std::string header = to_json_line(Tree(std::move(tensors)));
  header.resize((header.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  return header;
}

}  // namespace

void write_safetensors(const Path& path, std::span<const NamedArray> arrays) {
  const std::string header = make_header(arrays, path.string());
  const std::uint64_t length = header.size();
  std::vector<std::span<const std::byte>> pieces = {std::as_bytes(std::span(&length, 1)), std::as_bytes(std::span(header))};
  for (const NamedArray& array : arrays) pieces.push_back(array.bytes);
  write_file_atomically(path, pieces);
}

}  // namespace meshseek
