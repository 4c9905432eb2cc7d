/// Data movement between operators.
#pragma once
#include <cstdint>
#include <span>

#include "ops/concat_config.hpp"

namespace meshseek {

/// [.., A] and [.., B] -> [.., A + B]; equal element types.
Tensor concat(const Tensor& a, const Tensor& b, const ConcatConfig& cfg);

/// Columns [begin, end) of the last dimension, copied.
Tensor slice_columns(const Tensor& x, std::int64_t begin, std::int64_t end);

/// x with zeros on the right: [.., A] -> [.., columns], columns >= A.
Tensor pad_columns(const Tensor& x, std::int64_t columns);

/// Rows of a [T, ..] tensor by index, copied; of int32, too.
Tensor take_rows(const Tensor& x, std::span<const std::int64_t> rows, const MemoryConfig& memory_config = {});

}  // namespace meshseek
