#include "ops/exchange/collective_call.hpp"

namespace meshseek::exchange {

CollectiveCall::CollectiveCall(const Tensor& x, std::optional<std::int64_t> cluster_axis, std::string_view op)
    : device_(device_of(x, op)), cluster_axis_(cluster_axis), op_(op) {
  log_operator(device_, op, [&] {
    return fmt::format("x {} over {} of {}", to_string(x.shape()), cluster_axis ? fmt::format("axis {}", *cluster_axis) : "all",
                       to_string(device_.communicator().shape()));
  });
  const bool stored = x.volume() == 0 || !x.bytes().empty();
  if (x.layout() == Layout::row_major && x.rank() > 0 && stored) return;
  throw ShapeError(fmt::format("[{}] x is {} {}{}; expected ROW_MAJOR with at least one dimension", op, to_string(x.shape()),
                               to_string(x.layout()), stored ? "" : ", deallocated"));
}

CollectiveCall::CollectiveCall(const Tensor& x, std::optional<std::int64_t> cluster_axis, MessageTag tag)
    : CollectiveCall(x, cluster_axis, to_string(tag)) {
  tag_ = tag;
}

CollectiveCall::CollectiveCall(Device& device, std::optional<std::int64_t> cluster_axis, std::string_view op, MessageTag tag)
    : device_(device), cluster_axis_(cluster_axis), op_(op), tag_(tag) {
  log_operator(device_, op_, [&] { return fmt::format("mesh {}", to_string(device_.communicator().shape())); });
}

void CollectiveCall::check_summable(const Tensor& x) const {
  if (x.dtype() == DataType::float32 || x.dtype() == DataType::bfloat16) return;
  throw ShapeError(fmt::format("[{}] x is {}; sums need float32 or bfloat16", op_, to_string(x.dtype())));
}

}  // namespace meshseek::exchange
