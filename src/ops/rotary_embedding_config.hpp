/// Config of rotary_embedding().
#pragma once
#include "ops/common_config.hpp"

namespace meshseek {

struct RotaryEmbeddingConfig {
  static constexpr std::string_view kOp = "RotaryEmbedding";

  bool interleaved = true;  ///< pairs (2i, 2i+1); false: (i, i + rotary_dim / 2)

  static constexpr auto fields() {
    return std::tuple{field("interleaved", &RotaryEmbeddingConfig::interleaved, "pairs are (2i, 2i+1), not (i, i + rotary_dim / 2)")};
  }
};

}  // namespace meshseek
