/// Normalisations of one row in float64.
#pragma once
#include <span>
#include <vector>

namespace meshseek::reference {

std::vector<double> softmax(std::span<const double> scores);
std::vector<double> rms_norm(std::span<const float> x, std::span<const float> weight, double epsilon);
double silu(double x);

}  // namespace meshseek::reference
