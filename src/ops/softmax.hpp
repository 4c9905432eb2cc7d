/// Operators on logits, for sampling and scoring.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace meshseek {

/// Softmax of one row in float64 accumulation. \return probabilities, same length; an empty row gives an empty result.
std::vector<float> softmax(std::span<const float> logits);
/// log softmax of one row, float64.
std::vector<double> log_softmax(std::span<const float> logits);
/// Index of the largest value, the lowest index among equals. \throws Error on an empty row or when every value is NaN.
std::int64_t argmax(std::span<const float> logits);

}  // namespace meshseek
