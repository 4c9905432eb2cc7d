/// The shape of a device mesh.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace meshseek {

struct MeshShape {
  std::int64_t rows = 1;
  std::int64_t cols = 1;
  std::int64_t num_devices() const { return rows * cols; }
  friend bool operator==(const MeshShape&, const MeshShape&) = default;
};

std::string to_string(const MeshShape& shape);  ///< "1x1"
/// "RxC" with 1 <= R, C <= 4096. \throws Error otherwise.
MeshShape parse_mesh_shape(std::string_view text);

}  // namespace meshseek
