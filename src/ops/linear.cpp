#include "ops/linear.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "ops/capture.hpp"
#include "ops/cpu/matmul.hpp"
#include "ops/matmul_plan.hpp"
#include "ops/memory.hpp"
#include "ops/operator_log.hpp"
#include "ops/validate.hpp"

namespace meshseek {
namespace {

std::int64_t in_features(const LinearConfig& cfg) { return cfg.input_tensor_b.tensor.dim(cfg.transpose_b ? -1 : -2); }
std::int64_t out_features(const LinearConfig& cfg) { return cfg.input_tensor_b.tensor.dim(cfg.transpose_b ? -2 : -1); }

void check(const Tensor& x, const LinearConfig& cfg, std::string_view op) {
  const Tensor& weight = cfg.input_tensor_b.tensor;
  if (weight.rank() < 2 || x.rank() < 2 || x.dim(-1) != in_features(cfg)) {
    throw ShapeError(
        fmt::format("[{}] x is {} but the weight is {} (transpose_b {}): their inner dimensions must agree; is this the right store?", op,
                    to_string(x.shape()), to_string(weight.shape()), cfg.transpose_b));
  }
  validate(cfg, op);
}

std::vector<float> bias_values(const LinearConfig& cfg) {
  if (!cfg.bias) return {};
  std::vector<float> bias = to_float_vector(cfg.bias->tensor);
  if (static_cast<std::int64_t>(bias.size()) != out_features(cfg)) {
    throw ShapeError(fmt::format("[linear] the bias is {} but the weight is {}; expected one value per output",
                                 to_string(cfg.bias->tensor.shape()), to_string(cfg.input_tensor_b.tensor.shape())));
  }
  return bias;
}

Tensor multiply(const Tensor& x, const LinearConfig& cfg, std::span<const cpu::RowGroup> groups, Shape shape, std::string_view op) {
  Device& device = device_of(x, op);
  const MathFidelity fidelity = cfg.compute_kernel_config.math_fidelity;
  const Tensor& weight = cfg.input_tensor_b.tensor;
  const DataType dtype = cfg.dtype.value_or(activation_dtype(cfg.compute_kernel_config));
  std::int64_t num_rows = 0;   // of all matrices together
  std::int64_t most_rows = 0;  // of one matrix
  for (const cpu::RowGroup& group : groups) {
    num_rows += group.count;
    most_rows = std::max(most_rows, group.count);
  }
  if (num_rows == 0) return Tensor::empty(std::move(shape), dtype, &device);  // no program is made for nothing
  MatmulSizes sizes = {
      .m = num_rows, .k = in_features(cfg), .n = out_features(cfg), .num_matrices = static_cast<std::int64_t>(groups.size())};
  const MatmulProgramConfig program = resolve_program(cfg, sizes, device.description());
  sizes.m = most_rows;
  const MatmulPlan plan = make_matmul_plan(program, sizes, op);
  check_shards(cfg.memory_config, plan, op);
  log_operator(
      device, op,
      [&] {
        return fmt::format("x {} weight {} {} {}{}", to_string(x.shape()), to_string(weight.shape()), to_string(weight.dtype()),
                           enum_name(fidelity), cfg.transpose_b ? "" : " plain");
      },
      [&] { return fmt::format("{}, result in {}", to_string(plan), to_string(cfg.memory_config)); });
  Tensor y = make_result(std::move(shape), dtype, cfg.memory_config, device, op);
  const std::int64_t tile_rows = cpu::fewest_tile_rows(plan.tile_rows, fidelity, cfg.transpose_b);
  std::optional<cpu::TilePanels> panels;
  if (tile_rows > 0 && most_rows >= tile_rows) panels.emplace(x, in_features(cfg), fidelity, groups, tile_rows, device);
  const bool all_on_tiles = panels && std::all_of(groups.begin(), groups.end(),
                                                  [&](const cpu::RowGroup& group) { return group.count == 0 || group.count >= tile_rows; });
  std::optional<cpu::Activations> activations;
  const bool with_floats = !cfg.transpose_b;  // what LoFi multiplies there
  if (!all_on_tiles) activations.emplace(x, in_features(cfg), fidelity, device, with_floats);
  const cpu::WeightMatrix matrix(weight);
  const std::vector<float> bias = bias_values(cfg);
  const cpu::MatmulProblem problem = {.x = activations ? &*activations : nullptr,
                                      .panels = panels ? &*panels : nullptr,
                                      .weight = &matrix,
                                      .groups = groups,
                                      .bias = bias,
                                      .fidelity = fidelity,
                                      .transpose_b = cfg.transpose_b};
  cpu::matmul(problem, plan, y, device.team());
  return y;
}

}  // namespace

Tensor linear(const Tensor& x, const LinearConfig& cfg) {
  const RecordedCall call(x, "linear", cfg, [&](CallValues& in) { in.add("x", x); });
  check(x, cfg, "linear");
  const std::int64_t num_tokens = x.dim(0);
  const Tensor& weight = cfg.input_tensor_b.tensor;
  if (weight.rank() == 2) {
    if (x.rank() != 2)
      throw ShapeError(
          fmt::format("[linear] x is {} but the weight is {}; expected x [T, in]", to_string(x.shape()), to_string(weight.shape())));
    const cpu::RowGroup group = {.count = num_tokens};
    return call.result(multiply(x, cfg, std::span(&group, 1), {num_tokens, out_features(cfg)}, "linear"));
  }
  const std::int64_t heads = weight.dim(0);
  if (weight.rank() != 3 || x.rank() != 3 || (x.dim(1) != heads && x.dim(1) != 1)) {
    throw ShapeError(fmt::format("[linear] x is {} but the weight is {}; expected x [T, heads, in] or [T, 1, in]", to_string(x.shape()),
                                 to_string(weight.shape())));
  }
  const std::int64_t x_heads = x.dim(1);
  std::vector<cpu::RowGroup> groups;
  for (std::int64_t head_idx = 0; head_idx < heads; ++head_idx) {
    groups.push_back(
        {.count = num_tokens, .first_x = x_heads == 1 ? 0 : head_idx, .step_x = x_heads, .first_y = head_idx, .step_y = heads});
  }
  return call.result(multiply(x, cfg, groups, {num_tokens, heads, out_features(cfg)}, "linear"));
}

Tensor grouped_linear(const Tensor& x, std::span<const std::int64_t> offsets, const LinearConfig& cfg) {
  const RecordedCall call(x, "grouped_linear", cfg, [&](CallValues& in) { in.add("x", x).add("offsets", offsets); });
  check(x, cfg, "grouped_linear");
  const Tensor& weight = cfg.input_tensor_b.tensor;
  const bool fits = weight.rank() == 3 && x.rank() == 2 && static_cast<std::int64_t>(offsets.size()) == weight.dim(0) + 1 &&
                    offsets.front() == 0 && offsets.back() == x.dim(0);
  if (!fits) {
    throw ShapeError(fmt::format(
        "[grouped_linear] x is {}, the weight {}, and there are {} offsets; expected [R, in], [E, out, in] and E + 1 from 0 to R",
        to_string(x.shape()), to_string(weight.shape()), offsets.size()));
  }
  std::vector<cpu::RowGroup> groups;
  for (std::size_t expert_idx = 0; expert_idx + 1 < offsets.size(); ++expert_idx) {
    const std::int64_t count = offsets[expert_idx + 1] - offsets[expert_idx];
    if (count < 0)
      throw ShapeError(fmt::format("[grouped_linear] the offsets descend from {} to {}; expected ascending row numbers",
                                   offsets[expert_idx], offsets[expert_idx + 1]));
    groups.push_back({.count = count, .first_x = offsets[expert_idx], .first_y = offsets[expert_idx]});
  }
  return call.result(multiply(x, cfg, groups, {x.dim(0), out_features(cfg)}, "grouped_linear"));
}

}  // namespace meshseek
