#include "ops/topk.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "ops/capture.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/operator_log.hpp"
#include "ops/validate.hpp"

namespace meshseek {

std::pmr::vector<std::int64_t> largest_indices(std::span<const float> values, std::int64_t k, std::pmr::memory_resource& memory) {
  std::pmr::vector<std::int64_t> order(values.size(), &memory);
  std::iota(order.begin(), order.end(), 0);
  const auto larger = [&](std::int64_t a, std::int64_t b) {
    const float va = values[static_cast<std::size_t>(a)];
    const float vb = values[static_cast<std::size_t>(b)];
    return va != vb ? va > vb : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + k, order.end(), larger);
  order.resize(static_cast<std::size_t>(k));
  return order;
}

TopK topk(const Tensor& x, const TopKConfig& cfg) {
  const RecordedCall call(x, "topk", cfg, [&](CallValues& in) { in.add("x", x); });
  Device& device = device_of(x, "topk");
  log_operator(device, "topk", [&] { return fmt::format("x {} k {}", to_string(x.shape()), cfg.k); });
  validate(cfg, "topk");
  const std::int64_t dim = x.dim(-1);
  if (cfg.k > dim) throw ShapeError(fmt::format("[topk] k is {} but x is {}; expected at most {}", cfg.k, to_string(x.shape()), dim));
  Shape shape = x.shape();
  shape.back() = cfg.k;
  TopK result = {Tensor::empty(shape, DataType::float32, &device), Tensor::empty(shape, DataType::int32, &device)};
  const cpu::RowReader reader(x, dim);
  std::vector<float> line(static_cast<std::size_t>(dim));
  for (std::int64_t row = 0; row < reader.num_rows(); ++row) {
    reader.read(row, line.data());
    if (std::any_of(line.begin(), line.end(), [](float value) { return std::isnan(value); }))
      throw Error(fmt::format("[topk] row {} holds NaN, which has no order; expected numbers", row));
    std::vector<float> keys = line;
    if (!cfg.largest) std::transform(keys.begin(), keys.end(), keys.begin(), std::negate<>());
    std::pmr::vector<std::int64_t> chosen = largest_indices(keys, cfg.k);
    if (!cfg.sorted) std::sort(chosen.begin(), chosen.end());
    for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
      const auto place = static_cast<std::size_t>(row * cfg.k) + slot;
      result.values.mutable_data<float>()[place] = line[static_cast<std::size_t>(chosen[slot])];
      result.indices.mutable_data<std::int32_t>()[place] = static_cast<std::int32_t>(chosen[slot]);
    }
  }
  call.finish([&](CallValues& out) { out.add("values", result.values).add("indices", result.indices); });
  return result;
}

}  // namespace meshseek
