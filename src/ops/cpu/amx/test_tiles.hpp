/// What tests of tiles share.
#pragma once
#include <cstdint>
#include <random>
#include <vector>

#include "ops/cpu/kernels_tables.hpp"
#include "ops/cpu/tile_kernels.hpp"

namespace meshseek::cpu::amx {

inline bool has_avx512() {
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
         __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vnni") != 0;
}

/// panels/emulated_panels_test.cpp
const TileKernels& emulated_panels();

/// Tables of integer panels without a matrix unit: that of VNNI emulated, and those that run here.
inline std::vector<const TileKernels*> integer_panels() {
  std::vector<const TileKernels*> tables = {&emulated_panels()};
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0) tables.push_back(&avx2::kPanelKernels);
  if (has_avx512()) tables.push_back(&avx512_vnni::kPanelKernels);
  return tables;
}

inline std::vector<float> random_floats(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

/// With the bits flipped that the table wants flipped in weights, or back.
template <class Byte>
std::vector<Byte> flipped(std::vector<Byte> weights, const TileKernels& table) {
  for (Byte& byte : weights) byte = static_cast<Byte>(static_cast<std::uint8_t>(byte) ^ table.int8_flip);
  return weights;
}

}  // namespace meshseek::cpu::amx
