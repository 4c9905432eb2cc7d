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

void check_name(const std::string& name, const std::string& where, std::set<std::string_view>& seen) {
  if (name == "__metadata__" || !seen.insert(name).second) {
    throw Error(
        fmt::format("[{}] the tensor name {} is reserved or given twice; expected a name of its own for each", where, quote_name(name)));
  }
}

void check_size(const NamedArray& array, const std::string& where) {
  const auto needed = static_cast<std::size_t>(stored_bytes(array.shape, array.dtype));
  if (needed != array.bytes.size()) {
    throw Error(fmt::format("[{}: {}] has {} bytes, but shape {} of {} needs {}", where, quote_name(array.name), array.bytes.size(),
                            to_string(array.shape), to_string(array.dtype), needed));
  }
}

}  // namespace

std::int64_t stored_bytes(const Shape& shape, HfDtype dtype) {
  return checked_product(volume(shape), static_cast<std::int64_t>(element_bytes(dtype)), shape);
}

std::string safetensors_header(std::span<const NamedShape> tensors, const std::string& where, const Tree& metadata) {
  std::set<std::string_view> seen;
  Tree::Object header;
  if (!metadata.is_null()) header.emplace_back("__metadata__", metadata);
  std::int64_t offset = 0;
  for (const NamedShape& tensor : tensors) {
    check_name(tensor.name, where, seen);
    const std::int64_t end = offset + stored_bytes(tensor.shape, tensor.dtype);
    Tree entry(Tree::Object{});
    entry.set("dtype", to_string(tensor.dtype));
    entry.set("shape", Tree::Array(tensor.shape.begin(), tensor.shape.end()));
    entry.set("data_offsets", Tree::Array{offset, end});
    header.emplace_back(tensor.name, std::move(entry));
    offset = end;
  }
  std::string text = to_json_line(Tree(std::move(header)));
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  const std::uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + text;
}

void write_safetensors(const Path& path, std::span<const NamedArray> arrays) {
  std::vector<NamedShape> tensors;
  for (const NamedArray& array : arrays) {
    check_size(array, path.string());
    tensors.push_back({.name = array.name, .dtype = array.dtype, .shape = array.shape});
  }
  const std::string header = safetensors_header(tensors, path.string());
  std::vector<std::span<const std::byte>> pieces = {std::as_bytes(std::span(header))};
  for (const NamedArray& array : arrays) pieces.push_back(array.bytes);
  write_file_atomically(path, pieces);
}

}  // namespace meshseek
