#include <fmt/format.h>

#include <algorithm>
#include <memory_resource>
#include <string_view>
#include <vector>

#include "ops/capture.hpp"
#include "ops/concat.hpp"
#include "ops/cpu/kernels.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/memory.hpp"
#include "ops/operator_log.hpp"
#include "ops/router.hpp"
#include "ops/validate.hpp"

namespace meshseek {

namespace {

/// Groups by place_of(expert), which is -1 for experts that are left out.
template <class PlaceOf>
Dispatched grouped(const Routing& routing, std::int64_t num_groups, std::pmr::memory_resource& memory, const PlaceOf& place_of) {
  const auto indices = routing.indices.data<std::int32_t>();
  Dispatched result = {.offsets = std::pmr::vector<std::int64_t>(static_cast<std::size_t>(num_groups) + 1, 0, &memory),
                       .slots = std::pmr::vector<std::int64_t>(&memory)};
  std::pmr::vector<std::int64_t> groups(indices.size(), &memory);
  for (std::size_t slot = 0; slot < indices.size(); ++slot) {
    groups[slot] = place_of(indices[slot]);
    if (groups[slot] >= 0) ++result.offsets[static_cast<std::size_t>(groups[slot]) + 1];
  }
  for (std::size_t idx = 1; idx < result.offsets.size(); ++idx) result.offsets[idx] += result.offsets[idx - 1];
  std::pmr::vector<std::int64_t> next(result.offsets.begin(), result.offsets.end() - 1, &memory);
  result.slots.resize(static_cast<std::size_t>(result.offsets.back()));
  for (std::size_t slot = 0; slot < indices.size(); ++slot) {
    if (groups[slot] < 0) continue;
    const auto row = static_cast<std::size_t>(next[static_cast<std::size_t>(groups[slot])]++);
    result.slots[row] = static_cast<std::int64_t>(slot);
  }
  return result;
}

/// grouped() and the rows. \param op in errors
template <class PlaceOf>
Dispatched group_rows(const Tensor& x, const Routing& routing, std::int64_t num_groups, const MoeDispatchConfig& cfg, std::string_view op,
                      const PlaceOf& place_of) {
  validate(cfg, op);
  if (routing.indices.dim(0) != x.dim(0)) {
    throw ShapeError(fmt::format("[{}] x is {} but the routing {}; expected one row of experts for each token", op, to_string(x.shape()),
                                 to_string(routing.indices.shape())));
  }
  std::pmr::memory_resource& memory = device_of(x, op).scratch();
  Dispatched result = grouped(routing, num_groups, memory, place_of);
  std::pmr::vector<std::int64_t> tokens(&memory);
  tokens.reserve(result.slots.size());
  for (const std::int64_t slot : result.slots) tokens.push_back(slot / routing.indices.dim(1));
  result.rows = take_rows(x, tokens, cfg.memory_config);  // [T * k or fewer, hidden]
  return result;
}

void check_expert(std::int32_t expert_idx, std::int64_t num_experts, std::string_view op) {
  if (expert_idx >= 0 && expert_idx < num_experts) return;
  throw Error(fmt::format("[{}] expert {} does not exist; expected 0 to {}", op, expert_idx, num_experts - 1));
}

/// The place that the caller gives to an expert.
std::int64_t given_place(std::int32_t expert_idx, std::span<const std::int64_t> places, std::int64_t num_groups, std::string_view op) {
  check_expert(expert_idx, static_cast<std::int64_t>(places.size()), op);
  const std::int64_t place = places[static_cast<std::size_t>(expert_idx)];
  if (place >= num_groups) throw Error(fmt::format("[{}] expert {} is group {} of {}; expected fewer", op, expert_idx, place, num_groups));
  return place;
}

}  // namespace

Dispatched moe_dispatch(const Tensor& x, const Routing& routing, std::int64_t num_experts, const MoeDispatchConfig& cfg) {
  const RecordedCall call(x, "moe_dispatch", cfg,
                          [&](CallValues& in) { in.add("x", x).add("indices", routing.indices).add("num_experts", num_experts); });
  log_operator(
      device_of(x, "moe_dispatch"), "moe_dispatch", [&] { return fmt::format("x {} to {} experts", to_string(x.shape()), num_experts); },
      [&] { return fmt::format("result in {}", to_string(cfg.memory_config)); });
  const Dispatched result = group_rows(x, routing, num_experts, cfg, "moe_dispatch", [&](std::int32_t expert_idx) -> std::int64_t {
    check_expert(expert_idx, num_experts, "moe_dispatch");
    return expert_idx;
  });
  call.finish([&](CallValues& out) { out.add("rows", result.rows).add("offsets", result.offsets).add("slots", result.slots); });
  return result;
}

Dispatched moe_dispatch_some(const Tensor& x, const Routing& routing, std::span<const std::int64_t> places, std::int64_t num_groups,
                             const MoeDispatchConfig& cfg) {
  const RecordedCall call(x, "moe_dispatch_some", cfg, [&](CallValues& in) {
    in.add("x", x).add("indices", routing.indices).add("places", places).add("num_groups", num_groups);
  });
  log_operator(
      device_of(x, "moe_dispatch_some"), "moe_dispatch_some",
      [&] { return fmt::format("x {} to {} experts", to_string(x.shape()), num_groups); },
      [&] { return fmt::format("result in {}", to_string(cfg.memory_config)); });
  const Dispatched result = group_rows(x, routing, num_groups, cfg, "moe_dispatch_some", [&](std::int32_t expert_idx) {
    return given_place(expert_idx, places, num_groups, "moe_dispatch_some");
  });
  call.finish([&](CallValues& out) { out.add("rows", result.rows).add("offsets", result.offsets).add("slots", result.slots); });
  return result;
}

Dispatched group_slots(const Routing& routing, std::span<const std::int64_t> places, std::int64_t num_groups) {
  const Tensor& indices = routing.indices;
  const RecordedCall call(indices, "group_slots",
                          [&](CallValues& in) { in.add("indices", indices).add("places", places).add("num_groups", num_groups); });
  Device& device = device_of(indices, "group_slots");
  log_operator(device, "group_slots", [&] { return fmt::format("indices {} to {} experts", to_string(indices.shape()), num_groups); });
  const Dispatched result = grouped(routing, num_groups, device.scratch(),
                                    [&](std::int32_t expert_idx) { return given_place(expert_idx, places, num_groups, "group_slots"); });
  call.finish([&](CallValues& out) { out.add("offsets", result.offsets).add("slots", result.slots); });
  return result;
}

Tensor moe_combine(const Tensor& rows, const Dispatched& dispatched, const Routing& routing, const MoeCombineConfig& cfg) {
  const RecordedCall call(rows, "moe_combine", cfg,
                          [&](CallValues& in) { in.add("rows", rows).add("slots", dispatched.slots).add("weights", routing.weights); });
  Device& device = device_of(rows, "moe_combine");
  validate(cfg, "moe_combine");
  const std::int64_t num_tokens = routing.weights.dim(0);
  const std::int64_t k = routing.weights.dim(1);
  const std::int64_t hidden = rows.dim(1);
  if (rows.dim(0) > num_tokens * k || dispatched.slots.size() != static_cast<std::size_t>(rows.dim(0))) {
    throw ShapeError(fmt::format("[moe_combine] rows are {} but the routing {}; expected at most tokens times experts a token",
                                 to_string(rows.shape()), to_string(routing.weights.shape())));
  }
  std::pmr::vector<std::int64_t> row_of_slot(static_cast<std::size_t>(num_tokens * k), -1, &device.scratch());
  for (std::size_t row = 0; row < dispatched.slots.size(); ++row)
    row_of_slot[static_cast<std::size_t>(dispatched.slots[row])] = static_cast<std::int64_t>(row);
  const auto weights = routing.weights.data<float>();
  const ShardPlan plan = make_shard_plan(cfg.memory_config, num_tokens, hidden, device, "moe_combine");
  log_operator(
      device, "moe_combine", [&] { return fmt::format("rows {}", to_string(rows.shape())); },
      [&] { return fmt::format("{}, result in {}", to_string(plan), to_string(cfg.memory_config)); });
  Tensor y = make_result({num_tokens, hidden}, cfg.dtype, cfg.memory_config, device, "moe_combine");  // [T, hidden]
  const cpu::RowReader reader(rows, hidden);
  const cpu::RowWriter writer(y, hidden);
  for_each_piece(plan, device.team(), 8, [&](const Piece& piece) {
    const Scratch<float> line(hidden, device);
    const Scratch<float> sum(hidden, device);
    for (std::int64_t token = piece.row_begin; token < piece.row_end; ++token) {
      std::fill(sum.begin(), sum.end(), 0.0F);
      for (std::int64_t slot = token * k; slot < (token + 1) * k; ++slot) {
        if (row_of_slot[static_cast<std::size_t>(slot)] < 0) continue;
        reader.read(row_of_slot[static_cast<std::size_t>(slot)], line.data());
        cpu::kernels().axpy(weights[static_cast<std::size_t>(slot)], line.data(), hidden, sum.data());
      }
      writer.write(token, sum.data());
    }
  });
  return call.result(std::move(y));
}

}  // namespace meshseek
