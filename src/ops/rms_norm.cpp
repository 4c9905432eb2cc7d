#include "ops/rms_norm.hpp"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "ops/capture.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/operator_log.hpp"

namespace meshseek {

Tensor rms_norm(const Tensor& x, const RmsNormConfig& cfg) {
  const RecordedCall call(x, "rms_norm", cfg, [&](CallValues& in) { in.add("x", x); });
  Device& device = device_of(x, "rms_norm");
  log_operator(device, "rms_norm", [&] { return fmt::format("x {} epsilon {}", to_string(x.shape()), cfg.epsilon); });
  const std::int64_t dim = x.dim(-1);
  if (cfg.weight.tensor.rank() == 0 || cfg.weight.tensor.volume() != dim) {
    throw ShapeError(fmt::format("[rms_norm] x is {} but the weight is {}; expected [{}]", to_string(x.shape()),
                                 to_string(cfg.weight.tensor.shape()), dim));
  }
  const std::vector<float> weight = to_float_vector(cfg.weight.tensor);
  Tensor y = Tensor::empty(x.shape(), cfg.dtype, &device);
  const cpu::RowReader reader(x, dim);
  const cpu::RowWriter writer(y, dim);
  device.team().parallel_for(static_cast<std::size_t>(reader.num_rows()), 8, [&](std::size_t begin, std::size_t end) {
    std::vector<float> line(static_cast<std::size_t>(dim));
    for (auto row = static_cast<std::int64_t>(begin); row < static_cast<std::int64_t>(end); ++row) {
      reader.read(row, line.data());
      double squares = 0.0;
      for (const float value : line) squares += static_cast<double>(value) * static_cast<double>(value);
      const auto inverse = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(dim) + cfg.epsilon));
      for (std::size_t col = 0; col < line.size(); ++col) line[col] = line[col] * inverse * weight[col];
      writer.write(row, line.data());
    }
  });
  return call.result(std::move(y));
}

}  // namespace meshseek
