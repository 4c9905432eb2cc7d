/// Config of rms_norm().
#pragma once
#include "ops/common_config.hpp"

namespace meshseek {

struct RmsNormConfig {
  static constexpr std::string_view kOp = "RmsNorm";

  WeightSlot weight = {};  ///< [dim]
  double epsilon = 1e-6;
  DataType dtype = DataType::bfloat16;  ///< of the result
  bool quantise = false;                ///< LoFi products of few rows follow: they find the result as int8 too
  MemoryConfig memory_config = {};      ///< of the result

  static constexpr auto fields() {
    return std::tuple{field("weight", &RmsNormConfig::weight, "the gain"),
                      field("epsilon", &RmsNormConfig::epsilon, "added to the mean square"),
                      field("dtype", &RmsNormConfig::dtype, "element type of the result: float32 or bfloat16"),
                      field("quantise", &RmsNormConfig::quantise,
                            "also make the int8 codes of the result, with a scale for each 16, that LoFi products of few rows take"),
                      field("memory_config", &RmsNormConfig::memory_config, "where the result lies and which core computes what")};
  }
};

}  // namespace meshseek
