#include "reference/goldens.hpp"

#include <cstring>

#include "base/error.hpp"

namespace meshseek::reference {
namespace {

template <class T>
std::vector<T> copy_as(const HfTensor& tensor, HfDtype dtype, const std::string& name) {
  if (tensor.dtype != dtype) throw Error("[goldens] " + name + " has another element type");
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

}  // namespace

const HfTensor& Goldens::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw Error("[goldens] there is no array " + name);
  return found->second;
}

std::vector<float> Goldens::floats(const std::string& name) const { return copy_as<float>(at(name), HfDtype::F32, name); }

std::vector<double> Goldens::doubles(const std::string& name) const { return copy_as<double>(at(name), HfDtype::F64, name); }

std::vector<std::int64_t> Goldens::integers(const std::string& name) const {
  const std::vector<std::int32_t> values = copy_as<std::int32_t>(at(name), HfDtype::I32, name);
  return {values.begin(), values.end()};
}

}  // namespace meshseek::reference
