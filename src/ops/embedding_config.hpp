/// Config of embedding().
#pragma once
#include "ops/common_config.hpp"

namespace meshseek {

struct EmbeddingConfig {
  static constexpr std::string_view kOp = "Embedding";

  WeightSlot weight = {};              ///< [vocab_size, hidden_size]
  DataType dtype = DataType::float32;  ///< of the result
  MemoryConfig memory_config = {};     ///< of the result

  static constexpr auto fields() {
    return std::tuple{field("weight", &EmbeddingConfig::weight, "the table"),
                      field("dtype", &EmbeddingConfig::dtype, "element type of the result: float32 or bfloat16"),
                      field("memory_config", &EmbeddingConfig::memory_config, "where the result lies and which core computes what")};
  }
};

}  // namespace meshseek
