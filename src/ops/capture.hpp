/// Recording of operator calls: what each was given and what it returned, so that one of them can be run again alone.
///
/// An operator has one line where it starts and one where it returns:
///
///     const RecordedCall call(x, "linear", cfg, [&](CallValues& in) { in.add("x", x); });
///     ...
///     return call.result(std::move(y));
///
/// Without a recorder on the device of `x` both are one test of a pointer; the lambda is not called.
#pragma once
#include <fmt/format.h>

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "config/serialise.hpp"
#include "mesh/device.hpp"
#include "ops/common_config.hpp"

namespace meshseek {

struct NamedTensor {
  std::string name = {};
  Tensor tensor = {};
};

/// Inputs or outputs of one call: row-major tensors, and numbers and names that are no tensors.
class CallValues {
 public:
  CallValues& add(std::string name, Tensor tensor);
  CallValues& add(std::string name, std::span<const float> values);
  /// Stored as int32. \throws Error for a value that int32 does not hold
  CallValues& add(std::string name, std::span<const std::int64_t> values);
  CallValues& add(std::string name, std::int64_t value);
  CallValues& add(std::string name, DataType value);

  const std::vector<NamedTensor>& tensors() const { return tensors_; }
  const Tree::Object& arguments() const { return arguments_; }

 private:
  std::vector<NamedTensor> tensors_;
  Tree::Object arguments_;
};

/// One call of an operator that is about to run.
struct OperatorCall {
  std::string_view op = {};               ///< "linear", "flash_mla_decode", ... as in the operator log
  const void* config = nullptr;           ///< address of the operator's config; null for operators without
  Tree config_tree = {};                  ///< to_tree() of the config; null for operators without
  std::vector<NamedTensor> weights = {};  ///< loaded weights by the dotted name of their slot in the config
  CallValues inputs = {};
};

/// Listens to the operators of a device (Device::set_recorder). Operators that other operators call are not reported.
class OperatorRecorder {
 public:
  virtual ~OperatorRecorder() = default;
  /// Whether calls come with config_tree, weights, inputs and outputs. Without, listening costs next to nothing: for clocks.
  virtual bool wants_values() const { return true; }
  /// Before the operator runs. It may write to its inputs: whoever wants them later must copy them now.
  virtual void start(const OperatorCall& call) = 0;
  /// After the call that was started last.
  virtual void finish(const CallValues& outputs) = 0;
};

/// Appends the loaded weights of a config, named by the path of their slots below it.
template <HasFields Config>
void append_weights(const Config& config, const std::string& prefix, std::vector<NamedTensor>& weights) {
  for_each_field(config, [&](std::string_view name, const auto& member) {
    using Member = std::remove_cvref_t<decltype(member)>;
    const std::string path = prefix + std::string(name);
    if constexpr (std::is_same_v<Member, WeightSlot>)
      weights.push_back({path, member.tensor});
    else if constexpr (HasFields<Member>)
      append_weights(member, path + ".", weights);
  });
}

/// \throws Error when a pass of several sequences is recorded: a recorded call has the cache of one
inline void only_sequence(std::size_t num_sequences, std::string_view op) {
  if (num_sequences == 1) return;
  throw Error(fmt::format("[{}] a pass of {} sequences cannot be recorded; expected one sequence", op, num_sequences));
}

/// Guard of one call, see the top of this file.
class RecordedCall {
 public:
  /// \param inputs called with a CallValues to fill, only when someone records
  template <OperatorConfig Config, class Inputs>
  RecordedCall(const Tensor& x, std::string_view op, const Config& cfg, const Inputs& inputs) : device_(recording_device(x)) {
    if (device_ == nullptr) return;
    OperatorCall call = {.op = op, .config = &cfg};
    if (device_->recorder()->wants_values()) {
      call.config_tree = to_tree(cfg);
      append_weights(cfg, "", call.weights);
      inputs(call.inputs);
    }
    start(call);
  }
  /// An operator without a config.
  template <class Inputs>
  RecordedCall(const Tensor& x, std::string_view op, const Inputs& inputs) : device_(recording_device(x)) {
    if (device_ == nullptr) return;
    OperatorCall call = {.op = op};
    if (device_->recorder()->wants_values()) inputs(call.inputs);
    start(call);
  }
  RecordedCall(const RecordedCall&) = delete;
  RecordedCall& operator=(const RecordedCall&) = delete;
  ~RecordedCall() {
    if (device_ != nullptr) device_->set_recorder(recorder_);
  }

  /// Reports the result, named "y", and returns it.
  Tensor result(Tensor y) const {
    if (device_ != nullptr) finish([&](CallValues& out) { out.add("y", y); });
    return y;
  }
  /// Reports a result of another type.
  template <class Outputs>
  void finish(const Outputs& outputs) const {
    if (device_ == nullptr) return;
    CallValues values;
    if (recorder_->wants_values()) outputs(values);
    recorder_->finish(values);
  }

 private:
  static Device* recording_device(const Tensor& x) {
    return x.device() != nullptr && x.device()->recorder() != nullptr ? x.device() : nullptr;
  }
  void start(const OperatorCall& call);

  Device* device_ = nullptr;              ///< null: nobody records
  OperatorRecorder* recorder_ = nullptr;  ///< taken off the device while the operator runs, so that those it calls are not recorded
};

}  // namespace meshseek
