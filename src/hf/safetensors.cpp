#include "hf/safetensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "base/error.hpp"
#include "config/tree.hpp"
#include "hf/quote_name.hpp"

namespace meshseek {
namespace {

static_assert(std::endian::native == std::endian::little, "tensor data are read in place and are little-endian");

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::uint64_t kLengthBytes = 8;
constexpr std::size_t kMaxRank = Shape::kMaxRank;

struct DtypeInfo {
  HfDtype dtype = HfDtype::F32;
  std::string_view name = {};
  std::size_t bytes = 0;
};

constexpr DtypeInfo kDtypes[] = {{HfDtype::F32, "F32", 4},         {HfDtype::F16, "F16", 2},         {HfDtype::BF16, "BF16", 2},
                                 {HfDtype::F8_E4M3, "F8_E4M3", 1}, {HfDtype::F8_E8M0, "F8_E8M0", 1}, {HfDtype::I64, "I64", 8},
                                 {HfDtype::I32, "I32", 4},         {HfDtype::F64, "F64", 8}};

const DtypeInfo& info_of(HfDtype dtype) {
  const auto* const found = std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const auto& info) { return info.dtype == dtype; });
  if (found == std::end(kDtypes))
    throw Error(fmt::format("[safetensors] {} is no dtype; expected one of HfDtype", static_cast<int>(dtype)));
  return *found;
}

/// The header's text, after its length was checked against file and limit.
std::string_view header_text(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() < kLengthBytes) {
    throw Error(fmt::format("[{}] the file has {} bytes; expected 8 bytes of header length first; download it again", where, bytes.size()));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  if (length > kMaxHeaderBytes) {
    throw Error(
        fmt::format("[{}] the header length is {} bytes; at most {} are allowed; give a safetensors file", where, length, kMaxHeaderBytes));
  }
  if (length > bytes.size() - kLengthBytes) {
    throw Error(fmt::format("[{}] the header length is {} bytes, but only {} follow; the file is truncated; download it again", where,
                            length, bytes.size() - kLengthBytes));
  }
  return {reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, static_cast<std::size_t>(length)};
}

Tree parse_header(std::string_view text, const std::string& file) {
  if (text.empty()) throw Error(fmt::format("[{}] the header is empty; expected an object of tensors; download the file again", file));
  Tree header;
  try {
    header = parse_json(text, "header");
  } catch (const ConfigError& error) {
    throw Error(
        fmt::format("[{}] the header is not valid JSON: {}; expected an object of tensors; download the file again", file, error.what()));
  }
  if (!header.is_object())
    throw Error(fmt::format("[{}] the header is {}; expected an object of tensors; download the file again", file, describe(header)));
  if (text.front() != '{')
    throw Error(fmt::format("[{}] the header starts with a blank; expected '{{' as its first byte; download the file again", file));
  return header;
}

/// One header entry, its offsets relative to the end of the header.
struct Entry {
  const std::string* name = nullptr;
  HfDtype dtype = HfDtype::F32;
  Shape shape = {};
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// Reads the description of one tensor.
class EntryReader {
 public:
  EntryReader(const std::string& file, const Tree::Member& member)
      : where_(fmt::format("{}: {}", file, quote_name(member.first))), member_(member) {}

  Entry read() const {
    for (const auto& [key, value] : member_.second.as_object(where_)) {
      if (key != "dtype" && key != "shape" && key != "data_offsets") {
        fail(fmt::format("has the unknown member {}; expected dtype, shape and data_offsets", quote_name(key)));
      }
    }
    Entry entry{.name = &member_.first, .dtype = read_dtype(), .shape = read_shape()};
    read_offsets(entry);
    return entry;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw Error(fmt::format("[{}] {}; download the file again", where_, message));
  }

  const Tree& member(std::string_view key) const {
    const Tree* const found = member_.second.find(key);
    if (found == nullptr) fail(fmt::format("has no {}; expected dtype, shape and data_offsets", key));
    return *found;
  }

  HfDtype read_dtype() const {
    const std::string& name = member("dtype").as_string(where_ + " dtype");
    std::string known;
    for (const auto& info : kDtypes) {
      if (info.name == name) return info.dtype;
      known += (known.empty() ? "" : ", ") + std::string(info.name);
    }
    fail(fmt::format("has the unknown dtype {}; expected one of {}", quote_name(name), known));
  }

  Shape read_shape() const {
    const auto& dims = member("shape").as_array(where_ + " shape");
    if (dims.size() > kMaxRank) fail(fmt::format("has {} dimensions; at most {} are supported", dims.size(), kMaxRank));
    Shape shape;
    for (const Tree& dim : dims) {
      shape.push_back(dim.as_integer(where_ + " shape"));
      if (shape.back() < 0) fail(fmt::format("has the negative dimension {}; expected 0 or more", shape.back()));
    }
    return shape;
  }

  void read_offsets(Entry& entry) const {
    const auto& offsets = member("data_offsets").as_array(where_ + " data_offsets");
    if (offsets.size() != 2) fail(fmt::format("has {} data_offsets; expected [begin, end]", offsets.size()));
    const std::int64_t begin = offsets[0].as_integer(where_ + " data_offsets");
    const std::int64_t end = offsets[1].as_integer(where_ + " data_offsets");
    if (begin < 0 || end < begin) fail(fmt::format("has data_offsets [{}, {}]; expected 0 <= begin <= end", begin, end));
    entry.begin = static_cast<std::uint64_t>(begin);
    entry.end = static_cast<std::uint64_t>(end);
    const std::uint64_t needed = byte_size(entry);
    if (entry.end - entry.begin != needed) {
      fail(fmt::format("has {} bytes in data_offsets, but shape {} of {} needs {}; expected as many", entry.end - entry.begin,
                       to_string(entry.shape), to_string(entry.dtype), needed));
    }
  }

  std::uint64_t byte_size(const Entry& entry) const {
    // A zero dimension makes the size zero, whatever the product of the others.
    if (std::find(entry.shape.begin(), entry.shape.end(), 0) != entry.shape.end()) return 0;
    std::int64_t size = static_cast<std::int64_t>(element_bytes(entry.dtype));
    for (const std::int64_t dim : entry.shape) {
      if (__builtin_mul_overflow(size, dim, &size)) fail("has a shape whose size overflows 63 bits; expected the dimensions of its data");
    }
    return static_cast<std::uint64_t>(size);
  }

  std::string where_;
  const Tree::Member& member_;
};

void check_metadata(const Tree& metadata, const std::string& file) {
  const std::string where = file + ": __metadata__";
  for (const auto& [key, value] : metadata.as_object(where)) value.as_string(fmt::format("{} {}", where, quote_name(key)));
}

/// The descriptions of all tensors, in the order of the header.
std::vector<Entry> read_entries(const Tree& header, const std::string& file) {
  std::vector<Entry> entries;
  try {
    for (const auto& member : header.as_object(file)) {
      if (member.first == "__metadata__") {
        check_metadata(member.second, file);
      } else {
        entries.push_back(EntryReader(file, member).read());
      }
    }
  } catch (const ConfigError& error) {  // a value of another type
    throw Error(fmt::format("{}; download the file again", error.what()));
  }
  return entries;
}

/// Tensors must fill the data from the first byte to the last: no overlap, no hole. Sorts the entries by offset.
void check_layout(std::vector<Entry>& entries, std::uint64_t data_bytes, const std::string& file) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  std::uint64_t expected = 0;
  for (const Entry& entry : entries) {
    const std::string where = fmt::format("{}: {}", file, quote_name(*entry.name));
    if (entry.end > data_bytes) {
      throw Error(fmt::format("[{}] ends at byte {} of the data, but there are {}; the file is truncated; download it again", where,
                              entry.end, data_bytes));
    }
    if (entry.begin != expected) {
      throw Error(fmt::format("[{}] begins at byte {} of the data and {} the tensor before it; expected {}; download the file again", where,
                              entry.begin, entry.begin < expected ? "overlaps" : "leaves a hole behind", expected));
    }
    expected = entry.end;
  }
  if (expected != data_bytes) {
    throw Error(
        fmt::format("[{}] has {} bytes after the last tensor; expected none; download the file again", file, data_bytes - expected));
  }
}

}  // namespace

std::string_view to_string(HfDtype dtype) { return info_of(dtype).name; }
std::size_t element_bytes(HfDtype dtype) { return info_of(dtype).bytes; }

std::map<std::string, HfTensor> parse_safetensors(std::span<const std::byte> bytes, const std::string& where) {
  const std::string_view text = header_text(bytes, where);
  const Tree header = parse_header(text, where);
  std::vector<Entry> entries = read_entries(header, where);
  const auto data = bytes.subspan(kLengthBytes + text.size());
  check_layout(entries, data.size(), where);
  std::map<std::string, HfTensor> tensors;
  for (Entry& entry : entries) {
    const auto own = data.subspan(entry.begin, entry.end - entry.begin);
    tensors.emplace(*entry.name, HfTensor{.dtype = entry.dtype, .shape = std::move(entry.shape), .bytes = own});
  }
  return tensors;
}

std::map<std::string, HfTensor> read_safetensors(const Path& path) {
  const auto file = std::make_shared<const MappedFile>(path);
  auto tensors = parse_safetensors(file->bytes(), path.string());
  for (auto& [name, tensor] : tensors) tensor.file = file;
  return tensors;
}

}  // namespace meshseek
