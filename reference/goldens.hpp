/// Arrays of a golden file by name.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "hf/safetensors.hpp"

namespace meshseek::reference {

/// One safetensors file. A missing file, name or type throws: the test fails.
class Goldens {
 public:
  explicit Goldens(const Path& path) : tensors_(read_safetensors(path)) {}

  std::vector<float> floats(const std::string& name) const;           ///< of an F32 array
  std::vector<double> doubles(const std::string& name) const;         ///< of an F64 array
  std::vector<std::int64_t> integers(const std::string& name) const;  ///< of an I32 array
  const Shape& shape(const std::string& name) const { return at(name).shape; }

 private:
  const HfTensor& at(const std::string& name) const;

  std::map<std::string, HfTensor> tensors_;
};

}  // namespace meshseek::reference
