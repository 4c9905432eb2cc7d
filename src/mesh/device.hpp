/// A device at run time: a thread team and an observer of the operators that run on it.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/thread_team.hpp"
#include "tensor/tensor.hpp"

namespace meshseek {

class OperatorRecorder;  // ops/capture.hpp

/// One executed operator, for the operator log.
struct OpRecord {
  std::string_view op;  ///< "linear", "flash_mla_prefill", ...
  std::string detail;   ///< shapes and the kernel or form that ran
};

class Device {
 public:
  /// \param num_threads 0: one per usable core
  explicit Device(std::size_t num_threads = 0) : team_(num_threads) {}

  ThreadTeam& team() { return team_; }

  /// Called once per operator, on the calling thread, before it runs. Empty: no log.
  void set_observer(std::function<void(const OpRecord&)> observer) { observer_ = std::move(observer); }
  bool is_observed() const { return static_cast<bool>(observer_); }
  void observe(const OpRecord& record) const { observer_(record); }

  /// Told of every operator with its inputs and outputs; null (the default): nobody. Not owned.
  void set_recorder(OperatorRecorder* recorder) { recorder_ = recorder; }
  OperatorRecorder* recorder() const { return recorder_; }

 private:
  ThreadTeam team_;
  std::function<void(const OpRecord&)> observer_;
  OperatorRecorder* recorder_ = nullptr;
};

}  // namespace meshseek
