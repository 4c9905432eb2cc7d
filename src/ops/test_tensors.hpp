/// Tensors that tests of this room make, and ways to look at results.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "mesh/device.hpp"
#include "ops/common_config.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek::testing {

inline std::vector<float> random_values(std::int64_t count, unsigned seed, float scale = 1.0F) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

/// A row-major tensor of a device, rounded to `dtype`.
inline Tensor activation(std::span<const float> values, const Shape& shape, Device& device, DataType dtype = DataType::float32) {
  if (dtype == DataType::float32) return Tensor::from<float>(shape, values, &device);
  std::vector<bf16> halves;
  for (const float value : values) halves.push_back(to_bf16(value));
  return Tensor::from<bf16>(shape, halves, &device);
}

inline Tensor random_activation(const Shape& shape, unsigned seed, Device& device, DataType dtype = DataType::float32) {
  return activation(random_values(volume(shape), seed), shape, device, dtype);
}

/// A loaded weight.
inline WeightSlot weight_slot(std::span<const float> values, const Shape& shape, DataType dtype = DataType::float32,
                              Layout layout = Layout::row_major) {
  return {shape, make_tensor(values, shape, dtype, layout)};
}

/// The bits of a result: equal only when every bit is.
inline std::vector<std::byte> bits_of(const Tensor& tensor) { return {tensor.bytes().begin(), tensor.bytes().end()}; }

/// What a call throws; empty when it does not.
template <class Exception = Error>
std::string message_of(const auto& call) {
  try {
    call();
  } catch (const Exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace meshseek::testing
