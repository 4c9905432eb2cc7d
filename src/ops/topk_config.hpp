/// Config of topk().
#pragma once
#include "ops/common_config.hpp"

namespace meshseek {

struct TopKConfig {
  static constexpr std::string_view kOp = "TopK";

  std::int64_t k = 1;
  std::int64_t dim = -1;  ///< only the last dimension is supported: -1
  bool largest = true;
  bool sorted = true;

  static constexpr auto fields() {
    return std::tuple{field("k", &TopKConfig::k, "values chosen in each row"),
                      field("dim", &TopKConfig::dim, "the dimension that is searched: -1"),
                      field("largest", &TopKConfig::largest, "the largest values, else the smallest"),
                      field("sorted", &TopKConfig::sorted, "best first, else in the order of their places")};
  }
};

}  // namespace meshseek
