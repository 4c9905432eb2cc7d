#include "stage3_run/trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <sstream>
#include <utility>

#include "base/error.hpp"
#include "base/file.hpp"
#include "stage3_run/operator_names.hpp"

namespace meshseek {
namespace {

double steady_us(std::chrono::steady_clock::time_point time) {
  return std::chrono::duration<double, std::micro>(time.time_since_epoch()).count();
}

std::string track_name(const DeviceTrace& track) {
  return fmt::format("device {} ({}, {})", track.rank, track.rank / track.mesh.cols, track.rank % track.mesh.cols);
}

std::string event_text(const TraceEvent& event, std::int64_t rank, double origin_us) {
  std::string arguments = fmt::format("\"op\":\"{}\"", event.op);
  if (event.is_collective) {
    arguments += fmt::format(",\"layer\":{},\"bytes_sent\":{},\"waited_us\":{:.3f}", event.layer_idx, event.bytes_sent, event.waited_us);
  }
  return fmt::format(R"({{"name":"{}","cat":"{}","ph":"X","ts":{:.3f},"dur":{:.3f},"pid":0,"tid":{},"args":{{{}}}}})", event.name,
                     event.is_collective ? "collective" : "operator", event.start_us - origin_us, event.duration_us, rank, arguments);
}

/// Collectives of one device in one layer.
struct LayerSum {
  std::int64_t calls = 0;
  std::int64_t bytes_sent = 0;
  double us = 0.0;
  double waited_us = 0.0;
};

/// One line of JSON for each layer of each device.
std::string layer_sums(std::span<const DeviceTrace> tracks) {
  std::map<std::pair<std::int64_t, std::int64_t>, LayerSum> sums;  // by rank and layer
  for (const DeviceTrace& track : tracks) {
    for (const TraceEvent& event : track.events) {
      if (!event.is_collective) continue;
      LayerSum& sum = sums[{track.rank, event.layer_idx}];
      ++sum.calls;
      sum.bytes_sent += event.bytes_sent;
      sum.us += event.duration_us;
      sum.waited_us += event.waited_us;
    }
  }
  std::string text;
  for (const auto& [key, sum] : sums) {
    text += fmt::format(R"({}{{"device":{},"layer":{},"calls":{},"us":{:.3f},"waited_us":{:.3f},"bytes_sent":{}}})",
                        text.empty() ? "" : ",\n", key.first, key.second, sum.calls, sum.us, sum.waited_us, sum.bytes_sent);
  }
  return text;
}

}  // namespace

TraceRecorder::TraceRecorder(Device& device, const Model::Config& prefill, const Model::Config& decode) : device_(&device) {
  for (const Model::Config* config : {&prefill, &decode}) add_operator_names(*config, "model", names_);
  Communicator& communicator = device.communicator();
  trace_.rank = communicator.rank();
  trace_.mesh = communicator.shape();
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  clock_offset_us_ = std::chrono::duration<double, std::micro>(wall).count() - steady_us(std::chrono::steady_clock::now());
  device.set_recorder(this);
  communicator.set_observer([this](const CollectiveRecord& record) { add_collective(record); });
}

TraceRecorder::~TraceRecorder() {
  device_->set_recorder(nullptr);
  device_->communicator().set_observer({});
}

void TraceRecorder::start(const OperatorCall& call) {
  const auto name = names_.find(call.config);
  current_ = {.name = name == names_.end() ? std::string(call.op) : name->second, .op = std::string(call.op)};
  current_.start_us = steady_us(std::chrono::steady_clock::now()) + clock_offset_us_;
}

void TraceRecorder::finish(const CallValues&) {
  current_.duration_us = steady_us(std::chrono::steady_clock::now()) + clock_offset_us_ - current_.start_us;
  trace_.events.push_back(std::move(current_));
}

void TraceRecorder::add_collective(const CollectiveRecord& record) {
  const double begin = steady_us(record.begin);
  trace_.events.push_back({.name = std::string(record.op),
                           .op = std::string(record.op),
                           .start_us = begin + clock_offset_us_,
                           .duration_us = steady_us(record.end) - begin,
                           .is_collective = true,
                           .layer_idx = record.layer_idx,
                           .bytes_sent = record.bytes_sent,
                           .waited_us = std::chrono::duration<double, std::micro>(record.waited).count()});
}

DeviceTrace TraceRecorder::take() { return std::exchange(trace_, {.rank = trace_.rank, .mesh = trace_.mesh}); }

std::string to_lines(const DeviceTrace& trace) {
  std::string text;
  for (const TraceEvent& event : trace.events) {
    text += fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\n", event.name, event.op, event.start_us, event.duration_us, event.is_collective ? 1 : 0,
                        event.layer_idx, event.bytes_sent, event.waited_us);
  }
  return text;
}

DeviceTrace from_lines(std::string_view text) {
  DeviceTrace trace;
  std::istringstream lines{std::string(text)};
  for (TraceEvent event; std::getline(std::getline(lines, event.name, '\t'), event.op, '\t'); trace.events.push_back(event)) {
    lines >> event.start_us >> event.duration_us >> event.is_collective >> event.layer_idx >> event.bytes_sent >> event.waited_us;
    if (!lines) throw Error("[trace] another process sent events that cannot be read; expected the same program on all hosts");
    lines.ignore();
  }
  return trace;
}

void write_trace(const Path& file, std::span<const DeviceTrace> tracks) {
  double origin_us = std::numeric_limits<double>::max();
  for (const DeviceTrace& track : tracks) {
    for (const TraceEvent& event : track.events) origin_us = std::min(origin_us, event.start_us);
  }
  std::string text = "{\"traceEvents\":[\n";
  for (const DeviceTrace& track : tracks) {
    text += fmt::format(R"({}{{"name":"thread_name","ph":"M","pid":0,"tid":{},"args":{{"name":"{}"}}}})", text.back() == '}' ? ",\n" : "",
                        track.rank, track_name(track));
    for (const TraceEvent& event : track.events) text += ",\n" + event_text(event, track.rank, origin_us);
  }
  text += "\n],\n\"collectives_per_layer\":[\n" + layer_sums(tracks) + "\n]}\n";
  write_file_atomically(file, std::string_view(text));
}

}  // namespace meshseek
