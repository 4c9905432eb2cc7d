#include "ops/capture.hpp"

#include <fmt/format.h>

#include "base/error.hpp"

namespace meshseek {

CallValues& CallValues::add(std::string name, Tensor tensor) {
  tensors_.push_back({std::move(name), std::move(tensor)});
  return *this;
}

CallValues& CallValues::add(std::string name, std::span<const float> values) {
  return add(std::move(name), Tensor::from<float>({static_cast<std::int64_t>(values.size())}, values));
}

CallValues& CallValues::add(std::string name, std::span<const std::int64_t> values) {
  std::vector<std::int32_t> narrow;
  for (const std::int64_t value : values) {
    if (!std::in_range<std::int32_t>(value)) throw Error(fmt::format("[capture {}] {} does not fit into int32", name, value));
    narrow.push_back(static_cast<std::int32_t>(value));
  }
  return add(std::move(name), Tensor::from<std::int32_t>({static_cast<std::int64_t>(narrow.size())}, narrow));
}

CallValues& CallValues::add(std::string name, std::int64_t value) {
  arguments_.emplace_back(std::move(name), Tree(value));
  return *this;
}

CallValues& CallValues::add(std::string name, DataType value) {
  arguments_.emplace_back(std::move(name), Tree(to_string(value)));
  return *this;
}

void RecordedCall::start(const OperatorCall& call) {
  recorder_ = device_->recorder();
  recorder_->start(call);
  device_->set_recorder(nullptr);
}

}  // namespace meshseek
