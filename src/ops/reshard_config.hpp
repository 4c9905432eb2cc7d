/// Config of reshard().
#pragma once
#include "ops/common_config.hpp"

namespace meshseek {

struct ReshardConfig {
  static constexpr std::string_view kOp = "Reshard";

  MemoryConfig memory_config = {};     ///< of the result
  std::optional<DataType> dtype = {};  ///< of the result; unset: x's

  static constexpr auto fields() {
    return std::tuple{field("memory_config", &ReshardConfig::memory_config, "where the result lies and which core copies what"),
                      field("dtype", &ReshardConfig::dtype, "element type of the result; unset: x's")};
  }
};

}  // namespace meshseek
