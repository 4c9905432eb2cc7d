/// The best values of each row.
#pragma once
#include <cstdint>
#include <memory_resource>
#include <span>
#include <vector>

#include "ops/topk_config.hpp"

namespace meshseek {

struct TopK {
  Tensor values = {};   ///< [.., k] float32
  Tensor indices = {};  ///< [.., k] int32
};

/// \param x [.., n] float32 or bfloat16, without NaN. Equal values: the lower place first.
/// \throws ShapeError when k is not within 1..n; Error when x holds NaN, which has no order
TopK topk(const Tensor& x, const TopKConfig& cfg);

/// Places of the k largest values: larger first, equal values by lower place. k at most values.size().
std::pmr::vector<std::int64_t> largest_indices(std::span<const float> values, std::int64_t k,
                                               std::pmr::memory_resource& memory = *std::pmr::get_default_resource());

}  // namespace meshseek
