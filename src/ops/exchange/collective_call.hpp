/// What every collective does around its exchange: checks, the operator log, the clock, and telling the mesh of an error.
#pragma once
#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <string_view>

#include "ops/exchange/exchange.hpp"
#include "ops/operator_log.hpp"

namespace meshseek::exchange {

class CollectiveCall {
 public:
  /// \param op a literal  \throws ShapeError when x belongs to no device, is not row-major, or was deallocated
  CollectiveCall(const Tensor& x, std::optional<std::int64_t> cluster_axis, std::string_view op);
  CollectiveCall(const Tensor& x, std::optional<std::int64_t> cluster_axis, MessageTag tag);
  /// An operator without an input. \param tag of its messages
  CollectiveCall(Device& device, std::optional<std::int64_t> cluster_axis, std::string_view op, MessageTag tag);

  Device& device() const { return device_; }
  std::string_view op() const { return op_; }
  std::int64_t size() const { return device_.communicator().group(cluster_axis_).size(); }
  std::int64_t position() const { return device_.communicator().group(cluster_axis_).position; }
  bool is_alone() const { return size() == 1; }

  /// \throws ShapeError for another type than float32 and bfloat16
  void check_summable(const Tensor& x) const;

  /// Runs body(Exchange&). An error in it ends the mesh, so that the others do not wait for this device.
  template <class Body>
  void run(const Body& body) {
    const auto begin = std::chrono::steady_clock::now();
    Communicator& communicator = device_.communicator();
    const std::int64_t bytes_before = communicator.total_bytes_sent();
    const auto waited_before = communicator.waited();
    {
      Exchange exchange(device_, cluster_axis_, tag_);
      try {
        body(exchange);
        exchange.finish();
      } catch (const std::exception& error) {
        communicator.fail(error.what());
        throw;
      }
    }
    communicator.observe({.op = op_,
                          .layer_idx = communicator.progress().layer_idx(),
                          .bytes_sent = communicator.total_bytes_sent() - bytes_before,
                          .begin = begin,
                          .end = std::chrono::steady_clock::now(),
                          .waited = communicator.waited() - waited_before});
  }

 private:
  Device& device_;
  std::optional<std::int64_t> cluster_axis_;
  std::string_view op_;
  MessageTag tag_ = MessageTag::command;
};

}  // namespace meshseek::exchange
