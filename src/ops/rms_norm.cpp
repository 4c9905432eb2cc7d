#include "ops/rms_norm.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "ops/capture.hpp"
#include "ops/cpu/activations.hpp"
#include "ops/cpu/kernels.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/memory.hpp"
#include "ops/operator_log.hpp"
#include "ops/validate.hpp"

namespace meshseek {
namespace {

/// The gains of `count` columns; zero beyond the weight.
Scratch<float> gains(const Tensor& weight, std::int64_t first_column, std::int64_t count, Device& device) {
  const Scratch<float> all(weight.volume(), device);
  to_floats(weight, all);
  if (first_column == 0 && count == weight.volume()) return all;
  const Scratch<float> piece(count, device);
  std::fill(piece.begin(), piece.end(), 0.0F);
  const std::int64_t num_stored = std::min(count, weight.volume() - first_column);
  if (num_stored > 0) std::copy_n(all.data() + first_column, num_stored, piece.data());
  return piece;
}

/// Normalises a row and multiplies it with the weight: as many values.
void scale_row(std::span<float> row, double mean_square, double epsilon, std::span<const float> weight) {
  const auto inverse = static_cast<float>(1.0 / std::sqrt(mean_square + epsilon));
  for (std::size_t col = 0; col < weight.size(); ++col) row[col] = row[col] * inverse * weight[col];
}

}  // namespace

Tensor rms_norm(const Tensor& x, const RmsNormConfig& cfg) {
  const RecordedCall call(x, "rms_norm", cfg, [&](CallValues& in) { in.add("x", x); });
  Device& device = device_of(x, "rms_norm");
  validate(cfg, "rms_norm");
  const std::int64_t dim = x.dim(-1);
  if (cfg.weight.tensor.rank() == 0 || cfg.weight.tensor.volume() != dim) {
    throw ShapeError(fmt::format("[rms_norm] x is {} but the weight is {}; expected [{}]", to_string(x.shape()),
                                 to_string(cfg.weight.tensor.shape()), dim));
  }
  const Scratch<float> weight = gains(cfg.weight.tensor, 0, dim, device);
  const cpu::RowReader reader(x, dim);
  const ShardPlan plan = make_shard_plan(cfg.memory_config, reader.num_rows(), dim, device, "rms_norm");
  log_operator(
      device, "rms_norm", [&] { return fmt::format("x {} epsilon {}", to_string(x.shape()), cfg.epsilon); },
      [&] { return fmt::format("{}, result in {}", to_string(plan), to_string(cfg.memory_config)); });
  Tensor y = make_result(x.shape(), cfg.dtype, cfg.memory_config, device, "rms_norm");
  const cpu::RowWriter writer(y, dim);
  const Int8Rows int8_rows = cfg.quantise ? make_int8_rows(reader.num_rows(), dim, device) : Int8Rows();
  for_each_piece(plan, device.team(), 8, [&](const Piece& piece) {
    const Scratch<float> line(round_up(dim, kTileSize), device);
    std::fill(line.begin() + dim, line.end(), 0.0F);
    for (std::int64_t row = piece.row_begin; row < piece.row_end; ++row) {
      reader.read(row, line.data());
      scale_row(line, cpu::kernels().sum_of_squares(line.data(), dim) / static_cast<double>(dim), cfg.epsilon, weight);
      if (cfg.quantise) {
        if (cfg.dtype == DataType::bfloat16) cpu::kernels().round_bf16(line.data(), dim);  // codes are of what is written
        cpu::quantise_row(line.data(), row, int8_rows);
      }
      writer.write(row, line.data());
    }
  });
  if (cfg.quantise) y.set_int8_rows(int8_rows);
  return call.result(std::move(y));
}

Tensor rms_norm_pre_all_gather(const Tensor& x) {
  const RecordedCall call(x, "rms_norm_pre_all_gather", [&](CallValues& in) { in.add("x", x); });
  Device& device = device_of(x, "rms_norm_pre_all_gather");
  log_operator(device, "rms_norm_pre_all_gather", [&] { return fmt::format("x {}", to_string(x.shape())); });
  const std::int64_t width = x.dim(-1);
  const cpu::RowReader reader(x, width);
  Tensor y = make_result({reader.num_rows(), 1}, DataType::float32, device);  // [T, 1]
  const auto squares = y.mutable_data<float>();
  device.team().parallel_for(squares.size(), 8, [&](std::size_t begin, std::size_t end) {
    const Scratch<float> line(width, device);
    for (std::size_t row = begin; row < end; ++row) {
      reader.read(static_cast<std::int64_t>(row), line.data());
      squares[row] = static_cast<float>(cpu::kernels().sum_of_squares(line.data(), width));
    }
  });
  return call.result(std::move(y));
}

Tensor rms_norm_post_all_gather(const Tensor& x, const Tensor& squares, std::int64_t first_column, const RmsNormConfig& cfg) {
  const RecordedCall call(x, "rms_norm_post_all_gather", cfg,
                          [&](CallValues& in) { in.add("x", x).add("squares", squares).add("first_column", first_column); });
  Device& device = device_of(x, "rms_norm_post_all_gather");
  validate(cfg, "rms_norm_post_all_gather");
  const std::int64_t width = x.dim(-1);
  const cpu::RowReader reader(x, width);
  if (squares.rank() != 2 || squares.dim(0) != reader.num_rows() || squares.dim(1) < 1 || first_column < 0) {
    throw ShapeError(
        fmt::format("[rms_norm_post_all_gather] x is {} but the sums of squares are {}; expected one row of sums for each token",
                    to_string(x.shape()), to_string(squares.shape())));
  }
  const auto dim = static_cast<double>(cfg.weight.tensor.volume());
  const Scratch<float> weight = gains(cfg.weight.tensor, first_column, width, device);
  const cpu::RowReader read_squares(squares, squares.dim(1));
  const ShardPlan plan = make_shard_plan(cfg.memory_config, reader.num_rows(), width, device, "rms_norm_post_all_gather");
  log_operator(
      device, "rms_norm_post_all_gather",
      [&] { return fmt::format("x {} squares {} epsilon {}", to_string(x.shape()), to_string(squares.shape()), cfg.epsilon); },
      [&] { return fmt::format("{}, result in {}", to_string(plan), to_string(cfg.memory_config)); });
  Tensor y = make_result(x.shape(), cfg.dtype, cfg.memory_config, device, "rms_norm_post_all_gather");
  const cpu::RowWriter writer(y, width);
  for_each_piece(plan, device.team(), 8, [&](const Piece& piece) {
    const Scratch<float> line(width, device);
    const Scratch<float> sums(squares.dim(1), device);
    for (std::int64_t row = piece.row_begin; row < piece.row_end; ++row) {
      reader.read(row, line.data());
      read_squares.read(row, sums.data());
      const double total = std::accumulate(sums.begin(), sums.end(), 0.0);
      scale_row(line, total / dim, cfg.epsilon, weight);
      writer.write(row, line.data());
    }
  });
  return call.result(std::move(y));
}

}  // namespace meshseek
