/// Which tensors a checkpoint has, and how values for them are drawn.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "hf/hf_config.hpp"
#include "hf/safetensors.hpp"

namespace meshseek {

enum class ValueKind : std::uint8_t {
  normal,        ///< of mean and standard deviation
  uniform,       ///< of mean and standard deviation
  block_scales,  ///< of the FP8 weight `values_of`
};

/// One tensor of a generated checkpoint.
struct GeneratedTensor {
  std::string name = {};
  std::string values_of = {};  ///< the tensor whose values it has, itself but for copies and block scales
  HfDtype dtype = HfDtype::BF16;
  Shape shape = {};  ///< of one or two dimensions
  ValueKind kind = ValueKind::normal;
  double mean = 0.0;
  double deviation = 0.0;      ///< standard deviation; of FP8 weights and their scales: after dequantisation
  Shape scaled_shape = {};     ///< block_scales: shape of the weight
  std::int64_t block[2] = {};  ///< of FP8 weights and their scales: rows and columns that share a scale
};

/// All tensors that the converter reads of a checkpoint with this config, in the order of its layers; a weight's scales follow it.
/// Projections are FP8 when hf.weight_block_size says so, everything else bfloat16, the correction bias float32.
/// docs/generated_checkpoints.md has the statistics and where they come from.
/// \param seed decides which experts are larger than others
std::vector<GeneratedTensor> generated_tensors(const HfConfig& hf, std::uint64_t seed);

}  // namespace meshseek
