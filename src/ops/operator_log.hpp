/// Bookkeeping that every operator does first.
#pragma once
#include <fmt/format.h>

#include "base/error.hpp"
#include "mesh/device.hpp"
#include "tensor/tensor.hpp"

namespace meshseek {

/// The device of an operator's input. \throws ShapeError when the tensor belongs to none.
inline Device& device_of(const Tensor& x, std::string_view op) {
  if (x.device() == nullptr)
    throw ShapeError(fmt::format("[{}] the input {} belongs to no device; expected an activation", op, to_string(x.shape())));
  return *x.device();
}

/// Notes the operator that runs and reports it to the device's observer. `detail` and `plan` are called only when someone listens.
template <class Detail>
void log_operator(const Device& device, std::string_view op, Detail&& detail) {
  device.enter_operator(op);
  if (device.is_observed()) device.observe({op, detail(), {}, {}});
}
template <class Detail, class Plan>
void log_operator(const Device& device, std::string_view op, Detail&& detail, Plan&& plan, std::int64_t context = -1) {
  device.enter_operator(op);
  if (device.is_observed()) device.observe({op, detail(), plan(), context < 0 ? "" : fmt::format("context {}", context)});
}

}  // namespace meshseek
