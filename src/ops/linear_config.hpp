/// Config of linear().
#pragma once
#include "ops/common_config.hpp"
#include "ops/matmul_program_config.hpp"

namespace meshseek {

struct LinearConfig {
  static constexpr std::string_view kOp = "Linear";

  WeightSlot input_tensor_b = {};                          ///< [out, in], or [heads, out, in]; [.., in, out] when !transpose_b
  std::optional<WeightSlot> bias = {};                     ///< [out], float32 or bfloat16
  bool transpose_b = true;                                 ///< weights are stored [out, in]
  std::optional<DataType> dtype = {};                      ///< of the result; unset: activation_dtype(compute_kernel_config)
  MemoryConfig memory_config = {};                         ///< of the result
  std::optional<MatmulProgramConfig> program_config = {};  ///< dynamic: unset where program_rule makes it from the number of rows
  std::optional<MatmulProgramRule> program_rule = {};      ///< parameters of matmul_program()
  ComputeKernelConfig compute_kernel_config = {};

  static constexpr auto fields() {
    return std::tuple{
        field("input_tensor_b", &LinearConfig::input_tensor_b, "the weight"),
        field("bias", &LinearConfig::bias, "added to the result"),
        field("transpose_b", &LinearConfig::transpose_b, "the weight is stored [out, in]"),
        field("dtype", &LinearConfig::dtype, "element type of the result; unset: float32 for HiFi4, else bfloat16"),
        field("memory_config", &LinearConfig::memory_config,
              "where the result lies; sharded: the shards must be those of the program config"),
        field("program_config", &LinearConfig::program_config, "how the product is cut up; unset where program_rule is set"),
        field("program_rule", &LinearConfig::program_rule, "parameters of the rule that makes program_config from the number of rows"),
        field("compute_kernel_config", &LinearConfig::compute_kernel_config, "exactness of the products")};
  }
  /// Dynamic fields, each with the field that holds its rule's parameters: one of the two must be set when a run config is made.
  static constexpr auto dynamic_fields() { return std::array{DynamicField{"program_config", "program_rule"}}; }
};

}  // namespace meshseek
