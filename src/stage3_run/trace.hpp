/// When each operator of a device ran, for chrome://tracing and Perfetto.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.hpp"
#include "mesh/communicator.hpp"
#include "modules/model/model.hpp"
#include "ops/capture.hpp"

namespace meshseek {

/// One operator, or one collective of the operator that it lies in.
struct TraceEvent {
  std::string name = {};  ///< path of the config, or name of the operator where it has none
  std::string op = {};    ///< "linear", "all_reduce", ...
  double start_us = 0.0;  ///< of the wall clock, so that tracks of hosts with equal clocks fit together
  double duration_us = 0.0;
  bool is_collective = false;
  std::int64_t layer_idx = -1;  ///< of a collective; -1: none
  std::int64_t bytes_sent = 0;  ///< of a collective
  double waited_us = 0.0;       ///< of a collective: see CollectiveRecord::waited
};

/// One track.
struct DeviceTrace {
  std::int64_t rank = 0;
  MeshShape mesh = {};
  std::vector<TraceEvent> events = {};
};

/// Listens to a device while it lives. Nobody else may.
class TraceRecorder final : public OperatorRecorder {
 public:
  TraceRecorder(Device& device, const Model::Config& prefill, const Model::Config& decode);
  TraceRecorder(const TraceRecorder&) = delete;
  TraceRecorder& operator=(const TraceRecorder&) = delete;
  ~TraceRecorder() override;

  bool wants_values() const override { return false; }
  void start(const OperatorCall& call) override;
  void finish(const CallValues& outputs) override;
  DeviceTrace take();

 private:
  void add_collective(const CollectiveRecord& record);

  Device* device_;
  std::unordered_map<const void*, std::string> names_;
  DeviceTrace trace_;
  TraceEvent current_;
  double clock_offset_us_ = 0.0;  ///< from the steady clock to the wall clock
};

/// The events as lines of text, for the way between processes; rank and mesh are not among them. \throws Error: from_lines() of other text
std::string to_lines(const DeviceTrace& trace);
DeviceTrace from_lines(std::string_view text);

/// The file: {"traceEvents": [..], "collectives_per_layer": [..]}; process 0, one thread per device, complete events in microseconds since
/// the first of all. A collective has its layer, the bytes that the device sent and the microseconds that it waited as arguments; their
/// sums are in the second list, for each device and layer. \throws Error when it cannot be written
void write_trace(const Path& file, std::span<const DeviceTrace> tracks);

}  // namespace meshseek
