/// Config of concat().
#pragma once
#include "ops/common_config.hpp"

namespace meshseek {

struct ConcatConfig {
  static constexpr std::string_view kOp = "Concat";

  std::int64_t dim = -1;  ///< only the last dimension is supported: -1

  static constexpr auto fields() { return std::tuple{field("dim", &ConcatConfig::dim, "the dimension that grows: -1")}; }
};

}  // namespace meshseek
