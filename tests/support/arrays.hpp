/// Reading goldens: safetensors arrays as plain vectors, and comparing with them.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.hpp"
#include "hf/safetensors.hpp"
#include "tensor/tensor.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek::testing {

/// Folder of the test data in the repository.
Path data_folder();
/// The embedded model's checkpoint.
Path embedded_model();

/// Arrays of one safetensors file by name. A missing file or name throws: the test fails.
class Arrays {
 public:
  explicit Arrays(const Path& path);
  bool contains(const std::string& name) const { return tensors_.contains(name); }
  std::vector<float> floats(const std::string& name) const;
  std::vector<std::int64_t> integers(const std::string& name) const;
  const Shape& shape(const std::string& name) const;

 private:
  std::map<std::string, HfTensor> tensors_;
};

/// Largest and root-mean-square difference, and the largest absolute reference value.
struct Difference {
  double max = 0.0;
  double rms = 0.0;
  double largest = 0.0;
};
/// \throws std::runtime_error when the sizes differ
Difference difference(std::span<const float> actual, std::span<const float> expected);

/// Row `row` of a row-major matrix with `cols` columns.
std::span<const float> row_of(std::span<const float> values, std::int64_t row, std::int64_t cols);

}  // namespace meshseek::testing
