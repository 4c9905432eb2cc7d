#include "ops/rotary_embedding.hpp"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "ops/capture.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/memory.hpp"
#include "ops/operator_log.hpp"

namespace meshseek {
namespace {

/// Rotates one head vector's rope part. Pair i is (2i, 2i+1), or (i, i + half) when the weights were permuted.
void rotate(float* x, const float* cos, const float* sin, std::int64_t half, bool interleaved) {
  for (std::int64_t pair_idx = 0; pair_idx < half; ++pair_idx) {
    float& first = interleaved ? x[2 * pair_idx] : x[pair_idx];
    float& second = interleaved ? x[2 * pair_idx + 1] : x[pair_idx + half];
    const float rotated = first * cos[pair_idx] - second * sin[pair_idx];
    second = first * sin[pair_idx] + second * cos[pair_idx];
    first = rotated;
  }
}

}  // namespace

RopeTables make_rope_tables(std::span<const std::int64_t> positions, std::span<const double> inv_freq, double cos_sin_factor,
                            std::pmr::memory_resource& memory) {
  RopeTables tables = {.rotary_dim = static_cast<std::int64_t>(2 * inv_freq.size()),
                       .cos = std::pmr::vector<float>(&memory),
                       .sin = std::pmr::vector<float>(&memory)};
  tables.cos.reserve(positions.size() * inv_freq.size());
  tables.sin.reserve(positions.size() * inv_freq.size());
  for (const std::int64_t position : positions) {
    for (const double frequency : inv_freq) {
      const double angle = static_cast<double>(position) * frequency;
      tables.cos.push_back(static_cast<float>(std::cos(angle) * cos_sin_factor));
      tables.sin.push_back(static_cast<float>(std::sin(angle) * cos_sin_factor));
    }
  }
  return tables;
}

Tensor rotary_embedding(Tensor x, const RopeTables& tables, const RotaryEmbeddingConfig& cfg) {
  const RecordedCall call(x, "rotary_embedding", cfg, [&](CallValues& in) {
    in.add("x", x).add("cos", tables.cos).add("sin", tables.sin).add("rotary_dim", tables.rotary_dim);
  });
  Device& device = device_of(x, "rotary_embedding");
  log_operator(device, "rotary_embedding",
               [&] { return fmt::format("x {} {}", to_string(x.shape()), cfg.interleaved ? "interleaved" : "half-split"); });
  const std::int64_t half = tables.rotary_dim / 2;
  if (x.rank() != 3 || x.dim(2) < tables.rotary_dim || x.dim(0) * half != static_cast<std::int64_t>(tables.cos.size())) {
    throw ShapeError(
        fmt::format("[rotary_embedding] x is {} but the tables hold {} values of {} rotated dimensions; expected x [T, heads, dim]",
                    to_string(x.shape()), tables.cos.size(), tables.rotary_dim));
  }
  const std::int64_t heads = x.dim(1);
  const std::int64_t dim = x.dim(2);
  const cpu::RowReader reader(x, dim);
  const cpu::RowWriter writer(x, dim);
  const Scratch<float> line(dim, device);
  for (std::int64_t row = 0; row < x.dim(0) * heads; ++row) {
    const std::int64_t token = row / heads;
    reader.read(row, line.data());
    rotate(line.data() + dim - tables.rotary_dim, tables.cos.data() + token * half, tables.sin.data() + token * half, half,
           cfg.interleaved);
    writer.write(row, line.data());
  }
  return call.result(std::move(x));
}

}  // namespace meshseek
