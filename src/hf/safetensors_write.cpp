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

std::size_t bytes_of(const TensorInfo& tensor, const std::string& where) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(volume(tensor.shape)), element_bytes(tensor.dtype), &bytes)) {
    throw Error(fmt::format("[{}: {}] has a size beyond 64 bits", where, quote_name(tensor.name)));
  }
  return bytes;
}

}  // namespace

std::string safetensors_header(std::span<const TensorInfo> tensors, const std::string& where) {
  std::set<std::string_view> seen;
  Tree::Object entries;
  std::int64_t offset = 0;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.name == "__metadata__" || !seen.insert(tensor.name).second) {
      throw Error(fmt::format("[{}] the tensor name {} is reserved or given twice; expected a name of its own for each", where,
                              quote_name(tensor.name)));
    }
    const std::int64_t end = offset + static_cast<std::int64_t>(bytes_of(tensor, where));
    Tree entry(Tree::Object{});
    entry.set("dtype", to_string(tensor.dtype));
    entry.set("shape", Tree::Array(tensor.shape.begin(), tensor.shape.end()));
    entry.set("data_offsets", Tree::Array{offset, end});
    entries.emplace_back(tensor.name, std::move(entry));
    offset = end;
  }
  std::string header = to_json_line(Tree(std::move(entries)));
  header.resize((header.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header;
}

void write_safetensors(const Path& path, std::span<const NamedArray> arrays) {
  std::vector<TensorInfo> infos;
  for (const NamedArray& array : arrays) infos.push_back({array.name, array.dtype, array.shape});
  const std::string header = safetensors_header(infos, path.string());
  std::vector<std::span<const std::byte>> pieces = {std::as_bytes(std::span(header))};
  for (std::size_t idx = 0; idx < arrays.size(); ++idx) {
    const std::size_t needed = bytes_of(infos[idx], path.string());
    if (needed != arrays[idx].bytes.size()) {
      throw Error(fmt::format("[{}: {}] has {} bytes, but shape {} of {} needs {}", path.string(), quote_name(arrays[idx].name),
                              arrays[idx].bytes.size(), to_string(arrays[idx].shape), to_string(arrays[idx].dtype), needed));
    }
    pieces.push_back(arrays[idx].bytes);
  }
  write_file_atomically(path, pieces);
}

}  // namespace meshseek
