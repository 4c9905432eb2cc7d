#include "tests/support/arrays.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <stdexcept>

namespace meshseek::testing {
namespace {

template <class T>
std::vector<T> copy_as(const HfTensor& tensor) {
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), values.size() * sizeof(T));
  return values;
}

const HfTensor& at(const std::map<std::string, HfTensor>& tensors, const std::string& name) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw std::runtime_error("the golden has no array " + name);
  return found->second;
}

}  // namespace

Path data_folder() { return Path(MESHSEEK_SOURCE_DIR) / "tests" / "data"; }
Path embedded_model() { return Path(MESHSEEK_SOURCE_DIR) / "models" / "tiny-shakespeare"; }

Arrays::Arrays(const Path& path) : tensors_(read_safetensors(path)) {}

std::vector<float> Arrays::floats(const std::string& name) const {
  const HfTensor& tensor = at(tensors_, name);
  if (tensor.dtype == HfDtype::F32) return copy_as<float>(tensor);
  if (tensor.dtype != HfDtype::F64) throw std::runtime_error(name + " is no float array");
  const std::vector<double> values = copy_as<double>(tensor);
  return {values.begin(), values.end()};
}

std::vector<std::int64_t> Arrays::integers(const std::string& name) const {
  const HfTensor& tensor = at(tensors_, name);
  if (tensor.dtype != HfDtype::I32) throw std::runtime_error(name + " is no int32 array");
  const std::vector<std::int32_t> values = copy_as<std::int32_t>(tensor);
  return {values.begin(), values.end()};
}

const Shape& Arrays::shape(const std::string& name) const { return at(tensors_, name).shape; }

Difference difference(std::span<const float> actual, std::span<const float> expected) {
  if (actual.size() != expected.size()) throw std::runtime_error(fmt::format("{} values, expected {}", actual.size(), expected.size()));
  Difference result;
  double sum = 0.0;
  for (std::size_t idx = 0; idx < actual.size(); ++idx) {
    const double error = std::abs(static_cast<double>(actual[idx]) - static_cast<double>(expected[idx]));
    result.max = std::isnan(error) ? INFINITY : std::max(result.max, error);
    result.largest = std::max(result.largest, std::abs(static_cast<double>(expected[idx])));
    sum += error * error;
  }
  result.rms = actual.empty() ? 0.0 : std::sqrt(sum / static_cast<double>(actual.size()));
  if (std::isnan(result.rms)) result.rms = INFINITY;
  return result;
}

std::span<const float> row_of(std::span<const float> values, std::int64_t row, std::int64_t cols) {
  return values.subspan(static_cast<std::size_t>(row * cols), static_cast<std::size_t>(cols));
}

}  // namespace meshseek::testing
