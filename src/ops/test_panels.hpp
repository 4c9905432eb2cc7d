/// What tests of products on panels and tiles share: configs, odd shapes, the bound of int8 in cpu/tile_kernels.hpp.
#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/cpu/tile_kernels.hpp"
#include "ops/linear_config.hpp"
#include "ops/test_tensors.hpp"

namespace meshseek::testing {

inline constexpr double kEpsilon = 0x1p-24;

/// A product all of whose rows go through panels, where this machine has them.
inline LinearConfig tiled(std::span<const float> w, const Shape& shape, DataType dtype, MathFidelity fidelity,
                          Layout layout = Layout::tile) {
  LinearConfig cfg;
  cfg.input_tensor_b = weight_slot(w, shape, dtype, layout);
  cfg.dtype = DataType::float32;
  cfg.compute_kernel_config.math_fidelity = fidelity;
  cfg.program_rule = tile_program_rule(shape.back(), {.num_cores = 2, .l2_bytes = 1 << 17, .isa = "amx"});
  return cfg;
}

struct OddShape {
  std::int64_t in, out, num_tokens;
};
inline const std::vector<OddShape> kOddShapes = {{1, 1, 1},     {17, 31, 2},   {33, 33, 15},  {64, 48, 16},   {70, 77, 17},
                                                 {95, 300, 33}, {513, 40, 70}, {544, 33, 64}, {1500, 65, 31}, {2100, 70, 47}};

/// Steps of quantised rows: of each chunk of `cols` values the largest magnitude / 127 (int16: 8191), or the power of two that the largest of its block
/// exponents makes.
inline std::vector<double> steps_of(std::span<const float> values, std::int64_t cols, bool powers,
                                    cpu::PanelForm form = cpu::PanelForm::int8) {
  const bool is_int16 = form == cpu::PanelForm::int16;
  const std::int64_t size = cpu::scale_chunk(form);
  std::vector<double> steps(values.size());
  for (std::size_t idx = 0; idx < values.size(); ++idx) {
    const std::size_t col = idx % static_cast<std::size_t>(cols),
                      chunk = col / static_cast<std::size_t>(size) * static_cast<std::size_t>(size);
    const std::size_t first = idx - col + chunk,
                      last = idx - col + std::min(chunk + static_cast<std::size_t>(size), static_cast<std::size_t>(cols));
    double largest = 0.0;
    for (std::size_t other = first; other < last; ++other) largest = std::max(largest, std::abs(double{values[other]}));
    steps[idx] = powers ? std::exp2(std::floor(std::log2(largest)) - (is_int16 ? 10.0 : 6.0)) : largest / (is_int16 ? 8191.0 : 127.0);
  }
  return steps;
}

/// The bound of integers: of quantisation, and of float32 sums.
inline double integer_bound(const std::vector<float>& x, const std::vector<float>& w, const std::vector<double>& x_steps,
                            const std::vector<double>& w_steps, std::int64_t in, std::int64_t token, std::int64_t output,
                            cpu::PanelForm form = cpu::PanelForm::int8) {
  double steps = 0.0, size = 0.0;
  for (std::int64_t k = 0; k < in; ++k) {
    const auto i = static_cast<std::size_t>(token * in + k), j = static_cast<std::size_t>(output * in + k);
    const double here = x_steps[i] / 2 * std::abs(double{w[j]}) + w_steps[j] / 2 * std::abs(double{x[i]}) + x_steps[i] * w_steps[j] / 4;
    steps += here;
    size += std::abs(double{x[i]} * double{w[j]}) + here;
  }
  const std::int64_t roundings = (form == cpu::PanelForm::int16 ? 3 : 2) + ceil_div(in, cpu::scale_chunk(form));
  return steps + static_cast<double>(roundings) * kEpsilon * size;
}

}  // namespace meshseek::testing
