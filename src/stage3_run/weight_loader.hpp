/// Loads the tensor files that a weight config names, once each.
#pragma once
#include <map>
#include <string>

#include "base/mapped_file.hpp"
#include "config/tree.hpp"
#include "mesh/mesh_shape.hpp"
#include "tensor/tensor_file.hpp"

namespace meshseek {

/// Maps each file once, so that prefill and decode configs, and layers that share a file, share one copy.
class WeightLoader {
 public:
  WeightLoader(Path store, MeshShape mesh) : store_(std::move(store)), mesh_(mesh) {}

  /// The tensor of one weight config entry (an object with path, shape, dtype, .., or a plain path). `where` is its dotted path.
  /// \throws ConfigError naming `where`: path that leaves the store, missing file, entry and file differ in shape, dtype, layout or mesh, shape other than `expected`.
  Tensor load(const Tree& entry, const std::vector<std::int64_t>& expected, const std::string& where);

  std::int64_t num_files() const { return static_cast<std::int64_t>(files_.size()); }
  std::int64_t bytes() const { return bytes_; }

 private:
  const TensorFile& open(const std::string& relative, const std::string& where);

  Path store_;
  MeshShape mesh_;
  std::map<std::string, TensorFile> files_;
  std::int64_t bytes_ = 0;
};

}  // namespace meshseek
