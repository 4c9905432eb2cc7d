/// Config of linear().
#pragma once
#include "ops/common_config.hpp"

namespace meshseek {

struct LinearConfig {
  static constexpr std::string_view kOp = "Linear";

  WeightSlot input_tensor_b = {};                        ///< [out, in], or [heads, out, in]; [.., in, out] when !transpose_b
  std::optional<WeightSlot> bias = {};                   ///< [out], float32 or bfloat16
  bool transpose_b = true;                               ///< weights are stored [out, in]
  std::optional<DataType> dtype = {};                    ///< of the result; unset: activation_dtype(compute_kernel_config)
  ComputeKernelConfig compute_kernel_config = {};

  static constexpr auto fields() {
    return std::tuple{field("input_tensor_b", &LinearConfig::input_tensor_b, "the weight"),
                      field("bias", &LinearConfig::bias, "added to the result"),
                      field("transpose_b", &LinearConfig::transpose_b, "the weight is stored [out, in]"),
                      field("dtype", &LinearConfig::dtype, "element type of the result; unset: float32 for HiFi4, else bfloat16"),
                      field("compute_kernel_config", &LinearConfig::compute_kernel_config, "exactness of the products")};
  }
};

}  // namespace meshseek
