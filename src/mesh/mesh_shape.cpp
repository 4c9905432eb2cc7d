#include "mesh/mesh_shape.hpp"

#include <fmt/format.h>

#include <charconv>

#include "base/error.hpp"

namespace meshseek {
namespace {

constexpr std::int64_t kMaxAxis = 4096;

bool parse_axis(std::string_view text, std::int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 1 && value <= kMaxAxis;
}

}  // namespace

std::string to_string(const MeshShape& shape) { return fmt::format("{}x{}", shape.rows, shape.cols); }

MeshShape parse_mesh_shape(std::string_view text) {
  MeshShape shape;
  const std::size_t cross = text.find('x');
  if (cross == std::string_view::npos || !parse_axis(text.substr(0, cross), shape.rows) ||
      !parse_axis(text.substr(cross + 1), shape.cols)) {
    throw Error(fmt::format("[mesh] \"{}\" is no mesh shape; expected ROWSxCOLS such as 1x1, each 1 to {}", text, kMaxAxis));
  }
  return shape;
}

}  // namespace meshseek
