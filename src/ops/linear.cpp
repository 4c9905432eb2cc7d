#include "ops/linear.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory_resource>
#include <optional>
#include <vector>

#include "ops/binary.hpp"
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

DataType result_dtype(const LinearConfig& cfg) { return cfg.dtype.value_or(activation_dtype(cfg.compute_kernel_config)); }

/// One product, or two that are gated.
struct LinearCall {
  const LinearConfig& cfg;
  const LinearConfig* up = nullptr;  ///< gated: of the second weight
  const MulConfig* mul = nullptr;
  std::string_view op;
};

/// What a call's fidelity makes of x: rows on tiles, the others as Activations.
class PreparedRows {
 public:
  PreparedRows(const Tensor& x, const LinearConfig& cfg, std::span<const cpu::RowGroup> groups, std::int64_t tile_rows, Device& device) {
    const MathFidelity fidelity = cfg.compute_kernel_config.math_fidelity;
    const std::optional<cpu::PanelForm> form = cpu::panel_form(fidelity, cfg.transpose_b, cfg.input_tensor_b.tensor.dtype());
    const auto is_on_tiles = [&](const cpu::RowGroup& group) { return form && tile_rows > 0 && group.count >= tile_rows; };
    if (std::any_of(groups.begin(), groups.end(), is_on_tiles)) panels_.emplace(x, in_features(cfg), *form, groups, tile_rows, device);
    const bool all =
        std::all_of(groups.begin(), groups.end(), [&](const cpu::RowGroup& group) { return group.count == 0 || is_on_tiles(group); });
    const bool with_floats = !cfg.transpose_b;  // what LoFi multiplies there
    if (!all) activations_.emplace(x, in_features(cfg), fidelity, device, with_floats);
  }

  const cpu::TilePanels* panels() const { return panels_ ? &*panels_ : nullptr; }
  const cpu::Activations* activations() const { return activations_ ? &*activations_ : nullptr; }

 private:
  std::optional<cpu::TilePanels> panels_;
  std::optional<cpu::Activations> activations_;
};

void log_call(const LinearCall& call, const Tensor& x, const MatmulPlan& plan, const MemoryConfig& memory_config, const Device& device) {
  const Tensor& weight = call.cfg.input_tensor_b.tensor;
  log_operator(
      device, call.op,
      [&] {
        return fmt::format("x {} weight{} {} {} {}{}", to_string(x.shape()), call.up == nullptr ? "" : "s", to_string(weight.shape()),
                           to_string(weight.dtype()), enum_name(call.cfg.compute_kernel_config.math_fidelity),
                           call.cfg.transpose_b ? "" : " plain");
      },
      [&] { return fmt::format("{}, result in {}", to_string(plan), to_string(memory_config)); });
}

/// \param shape of the result
Tensor multiply(const Tensor& x, const LinearCall& call, std::span<const cpu::RowGroup> groups, Shape shape) {
  const LinearConfig& cfg = call.cfg;
  Device& device = device_of(x, call.op);
  const MemoryConfig& memory_config = call.mul == nullptr ? cfg.memory_config : call.mul->memory_config;
  const DataType dtype = call.mul == nullptr ? result_dtype(cfg) : call.mul->dtype.value_or(result_dtype(cfg));
  std::int64_t num_rows = 0;   // of all matrices together
  std::int64_t most_rows = 0;  // of one matrix
  for (const cpu::RowGroup& group : groups) {
    num_rows += group.count;
    most_rows = std::max(most_rows, group.count);
  }
  if (num_rows == 0) return make_result(std::move(shape), dtype, device);  // no program is made for nothing
  MatmulSizes sizes = {
      .m = num_rows, .k = in_features(cfg), .n = out_features(cfg), .num_matrices = static_cast<std::int64_t>(groups.size())};
  const MatmulProgramConfig program = resolve_program(cfg, sizes, device.description());
  sizes.m = most_rows;
  const MatmulPlan plan = make_matmul_plan(program, sizes, call.op);
  check_shards(memory_config, plan, call.op);
  log_call(call, x, plan, memory_config, device);
  Tensor y = make_result(std::move(shape), dtype, memory_config, device, call.op);
  const PreparedRows rows(x, cfg, groups, plan.tile_rows, device);
  const cpu::WeightMatrix matrix(cfg.input_tensor_b.tensor);
  const std::vector<float> bias = bias_values(cfg);
  cpu::MatmulProblem problem = {.x = rows.activations(),
                                .panels = rows.panels(),
                                .weight = &matrix,
                                .groups = groups,
                                .bias = bias,
                                .fidelity = cfg.compute_kernel_config.math_fidelity,
                                .transpose_b = cfg.transpose_b};
  std::optional<cpu::WeightMatrix> up;
  cpu::Gating gating = {.rounds_bf16 = result_dtype(cfg) == DataType::bfloat16};
  if (call.up != nullptr) {
    gating.activations = call.mul->input_tensor_a_activations;
    problem.up = &up.emplace(call.up->input_tensor_b.tensor);
    problem.gating = &gating;
  }
  cpu::matmul(problem, plan, y, device);
  return y;
}

/// x [R, in] that is grouped by expert. \throws ShapeError: what the offsets do not fit
std::pmr::vector<cpu::RowGroup> groups_of(const Tensor& x, std::span<const std::int64_t> offsets, const LinearConfig& cfg,
                                          std::string_view op) {
  const Tensor& weight = cfg.input_tensor_b.tensor;
  const bool fits = weight.rank() == 3 && x.rank() == 2 && static_cast<std::int64_t>(offsets.size()) == weight.dim(0) + 1 &&
                    offsets.front() == 0 && offsets.back() == x.dim(0);
  if (!fits) {
    throw ShapeError(
        fmt::format("[{}] x is {}, the weight {}, and there are {} offsets; expected [R, in], [E, out, in] and E + 1 from 0 to R", op,
                    to_string(x.shape()), to_string(weight.shape()), offsets.size()));
  }
  std::pmr::vector<cpu::RowGroup> groups(&device_of(x, op).scratch());
  groups.reserve(offsets.size());
  for (std::size_t expert_idx = 0; expert_idx + 1 < offsets.size(); ++expert_idx) {
    const std::int64_t count = offsets[expert_idx + 1] - offsets[expert_idx];
    if (count < 0)
      throw ShapeError(fmt::format("[{}] the offsets descend from {} to {}; expected ascending row numbers", op, offsets[expert_idx],
                                   offsets[expert_idx + 1]));
    groups.push_back({.count = count, .first_x = offsets[expert_idx], .first_y = offsets[expert_idx]});
  }
  return groups;
}

/// Whether one pass can do what the configs of the three operators say: everything that cuts up the work is the same in all, and nothing else happens
/// to their results.
bool can_gate(const Tensor& x, const LinearConfig& gate, const LinearConfig& up, const MulConfig& mul) {
  const Tensor& a = gate.input_tensor_b.tensor;
  const Tensor& b = up.input_tensor_b.tensor;
  const auto has_activation = [](const LinearConfig& cfg) {
    return cfg.program_config && std::visit([](const auto& program) { return program.fused_activation.has_value(); }, *cfg.program_config);
  };
  const bool is_recorded = x.device() != nullptr && x.device()->recorder() != nullptr && x.device()->recorder()->wants_values();
  return !is_recorded && a.shape() == b.shape() && a.dtype() == b.dtype() && a.layout() == b.layout() &&
         gate.transpose_b == up.transpose_b && !gate.bias && !up.bias && result_dtype(gate) == result_dtype(up) &&
         gate.program_config == up.program_config && gate.program_rule == up.program_rule &&
         gate.compute_kernel_config == up.compute_kernel_config && gate.memory_config == mul.memory_config && !has_activation(gate);
}

/// Both products of a gated pair in one pass. \param groups called for the groups of x's rows, when x was checked
template <class Groups>
Tensor multiply_gated(const Tensor& x, const LinearCall& call, const Groups& groups) {
  const RecordedCall recorded(x, call.op, call.cfg, [](CallValues&) {});  // who wants values gets the operators one by one
  check(x, call.cfg, call.op);
  validate(*call.mul, call.op);
  return recorded.result(multiply(x, call, groups(), {x.dim(0), out_features(call.cfg)}));
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
    return call.result(multiply(x, {.cfg = cfg, .op = "linear"}, std::span(&group, 1), {num_tokens, out_features(cfg)}));
  }
  const std::int64_t heads = weight.dim(0);
  if (weight.rank() != 3 || x.rank() != 3 || (x.dim(1) != heads && x.dim(1) != 1)) {
    throw ShapeError(fmt::format("[linear] x is {} but the weight is {}; expected x [T, heads, in] or [T, 1, in]", to_string(x.shape()),
                                 to_string(weight.shape())));
  }
  const std::int64_t x_heads = x.dim(1);
  std::pmr::vector<cpu::RowGroup> groups(&device_of(x, "linear").scratch());
  groups.reserve(static_cast<std::size_t>(heads));
  for (std::int64_t head_idx = 0; head_idx < heads; ++head_idx) {
    groups.push_back(
        {.count = num_tokens, .first_x = x_heads == 1 ? 0 : head_idx, .step_x = x_heads, .first_y = head_idx, .step_y = heads});
  }
  return call.result(multiply(x, {.cfg = cfg, .op = "linear"}, groups, {num_tokens, heads, out_features(cfg)}));
}

Tensor grouped_linear(const Tensor& x, std::span<const std::int64_t> offsets, const LinearConfig& cfg) {
  const RecordedCall call(x, "grouped_linear", cfg, [&](CallValues& in) { in.add("x", x).add("offsets", offsets); });
  check(x, cfg, "grouped_linear");
  const auto groups = groups_of(x, offsets, cfg, "grouped_linear");
  return call.result(multiply(x, {.cfg = cfg, .op = "grouped_linear"}, groups, {x.dim(0), out_features(cfg)}));
}

Tensor gated_linear(const Tensor& x, const LinearConfig& gate, const LinearConfig& up, const MulConfig& mul_cfg) {
  if (x.rank() != 2 || gate.input_tensor_b.tensor.rank() != 2 || !can_gate(x, gate, up, mul_cfg)) {
    const Tensor gates = linear(x, gate);       // [T, inner]
    return mul(gates, linear(x, up), mul_cfg);  // [T, inner]
  }
  const LinearCall call = {.cfg = gate, .up = &up, .mul = &mul_cfg, .op = "gated_linear"};
  const cpu::RowGroup group = {.count = x.dim(0)};
  return multiply_gated(x, call, [&] { return std::span(&group, 1); });
}

Tensor grouped_gated_linear(const Tensor& x, std::span<const std::int64_t> offsets, const LinearConfig& gate, const LinearConfig& up,
                            const MulConfig& mul_cfg) {
  if (!can_gate(x, gate, up, mul_cfg)) {
    const Tensor gates = grouped_linear(x, offsets, gate);       // [R, inner]
    return mul(gates, grouped_linear(x, offsets, up), mul_cfg);  // [R, inner]
  }
  const LinearCall call = {.cfg = gate, .up = &up, .mul = &mul_cfg, .op = "grouped_gated_linear"};
  return multiply_gated(x, call, [&] { return groups_of(x, offsets, gate, call.op); });
}

}  // namespace meshseek
