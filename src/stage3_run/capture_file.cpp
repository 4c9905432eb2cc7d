#include "stage3_run/capture_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/checksum.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "config/names.hpp"
#include "config/serialise.hpp"

namespace meshseek {
namespace {

constexpr std::size_t kMostRank = 8;

void check_header(const Tree& tree, const std::string& where) {
  const Tree* version = tree.find("format_version");
  if (version == nullptr || tree.find("store") == nullptr) {
    throw Error(fmt::format("[{}] is no header of a capture; expected a file written by --capture", where));
  }
  if (const std::int64_t given = version->as_integer(where + " format_version"); given != kCaptureVersion) {
    throw Error(fmt::format("[{}] has format_version {}; this program reads version {}; capture again", where, given, kCaptureVersion));
  }
}

void check_value(const CapturedTensor& value, const std::string& where) {
  const bool fits = !value.shape.empty() && value.shape.size() <= kMostRank &&
                    std::all_of(value.shape.begin(), value.shape.end(), [](std::int64_t dim) { return dim > 0; });
  if (!fits)
    throw Error(fmt::format("[{}] {} has shape {}; expected 1 to 8 dimensions of at least 1", where, in_quotes(value.name),
                            to_string(value.shape)));
  // The checksum is the name of a file: nothing else may be in it.
  const bool is_hex = value.checksum.size() == 16 && value.checksum.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!is_hex)
    throw Error(
        fmt::format("[{}] {} has checksum {}; expected 16 hexadecimal digits", where, in_quotes(value.name), in_quotes(value.checksum)));
  if (is_block_float(value.dtype))
    throw Error(fmt::format("[{}] {} is {}; expected a row-major type", where, in_quotes(value.name), to_string(value.dtype)));
  checked_product(volume(value.shape), static_cast<std::int64_t>(element_bytes(value.dtype)), value.shape);
}

template <class T>
Tensor filled(const CapturedTensor& value, std::span<const std::byte> bytes, Device& device) {
  Tensor tensor = Tensor::empty(value.shape, value.dtype, &device);
  std::memcpy(tensor.mutable_data<T>().data(), bytes.data(), bytes.size());
  return tensor;
}

}  // namespace

std::string to_string(const CapturedCall& call) {
  std::string text = fmt::format("call {} {}", call.index, call.op);
  if (call.path)
    text += " " + *call.path;
  else if (call.after)
    text += " after " + *call.after;
  if (call.mode) text += fmt::format(" ({})", *call.mode);
  return text;
}

std::string checksum_text(std::uint64_t checksum) { return fmt::format("{:016x}", checksum); }

Path data_folder_of(const Path& capture) { return Path(capture.string() + ".data"); }

CaptureFile::CaptureFile(const Path& path) : path_(path) {
  const std::string text = read_text_file(path);
  std::string_view rest = text;
  for (std::size_t number = 1; rest.find('\n') != std::string_view::npos; ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() + 1);
    read_line(line, number);
  }
  if (header_.store.empty()) throw Error(fmt::format("[{}] has no header; expected a file written by --capture", path_.string()));
}

void CaptureFile::read_line(std::string_view line, std::size_t number) {
  const std::string where = fmt::format("{} line {}", path_.string(), number);
  const Tree tree = parse_json(line, where);
  if (number == 1) {
    check_header(tree, where);
    header_ = from_tree<CaptureHeader>(tree, where);
    return;
  }
  CapturedCall call = from_tree<CapturedCall>(tree, where);
  if (call.index != static_cast<std::int64_t>(calls_.size())) {
    throw Error(fmt::format("[{}] has index {}; expected {}: a line is missing or was moved", where, call.index, calls_.size()));
  }
  for (const auto* values : {&call.inputs, &call.outputs}) {
    for (const CapturedTensor& value : *values) check_value(value, where);
  }
  calls_.push_back(std::move(call));
}

const CapturedCall& CaptureFile::call(std::int64_t index) const {
  if (index < 0 || index >= static_cast<std::int64_t>(calls_.size())) {
    throw Error(fmt::format("[{}] has no call {}; it holds {} calls, the first is 0", path_.string(), index, calls_.size()));
  }
  return calls_[static_cast<std::size_t>(index)];
}

Tensor CaptureFile::load(const CapturedTensor& value, Device& device) const {
  const MappedFile file(data_folder_of(path_) / (value.checksum + ".bin"));
  const auto expected = static_cast<std::size_t>(volume(value.shape)) * element_bytes(value.dtype);
  if (file.bytes().size() != expected) {
    throw Error(fmt::format("[{}] has {} bytes; expected {} for {} {}; capture again", file.path().string(), file.bytes().size(), expected,
                            to_string(value.dtype), to_string(value.shape)));
  }
  if (const std::string actual = checksum_text(checksum64(file.bytes())); actual != value.checksum) {
    throw Error(
        fmt::format("[{}] is damaged: its checksum is {}; expected {}; capture again", file.path().string(), actual, value.checksum));
  }
  switch (value.dtype) {
    case DataType::float32:
      return filled<float>(value, file.bytes(), device);
    case DataType::bfloat16:
      return filled<bf16>(value, file.bytes(), device);
    case DataType::int32:
      return filled<std::int32_t>(value, file.bytes(), device);
    case DataType::uint32:
      return filled<std::uint32_t>(value, file.bytes(), device);
    case DataType::uint16:
      return filled<std::uint16_t>(value, file.bytes(), device);
    default:
      return filled<std::uint8_t>(value, file.bytes(), device);
  }
}

}  // namespace meshseek
