#include "tensor/dtype.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/error.hpp"

namespace meshseek {
namespace {

constexpr std::array<std::pair<DataType, std::string_view>, 8> kNames = {{{DataType::bfloat16, "bfloat16"},
                                                                          {DataType::float32, "float32"},
                                                                          {DataType::uint32, "uint32"},
                                                                          {DataType::bfloat8_b, "bfloat8_b"},
                                                                          {DataType::bfloat4_b, "bfloat4_b"},
                                                                          {DataType::uint8, "uint8"},
                                                                          {DataType::uint16, "uint16"},
                                                                          {DataType::int32, "int32"}}};

}  // namespace

std::string_view to_string(DataType dtype) {
  for (const auto& [known, name] : kNames) {
    if (known == dtype) return name;
  }
  return "unknown";
}

std::string_view to_string(Layout layout) { return layout == Layout::tile ? "TILE" : "ROW_MAJOR"; }

DataType parse_dtype(std::string_view name) {
  std::string known_names;
  for (const auto& [dtype, known] : kNames) {
    if (known == name) return dtype;
    known_names += fmt::format("{}{}", known_names.empty() ? "" : ", ", known);
  }
  throw Error(fmt::format("[dtype] \"{}\" is unknown; expected one of: {}", name, known_names));
}

std::size_t element_bytes(DataType dtype) {
  switch (dtype) {
    case DataType::uint8:
      return 1;
    case DataType::bfloat16:
    case DataType::uint16:
      return 2;
    case DataType::float32:
    case DataType::uint32:
    case DataType::int32:
      return 4;
    case DataType::bfloat8_b:
    case DataType::bfloat4_b:
      break;
  }
  throw Error(fmt::format("[dtype] {} has no element size: 16 values share an exponent", to_string(dtype)));
}

}  // namespace meshseek
