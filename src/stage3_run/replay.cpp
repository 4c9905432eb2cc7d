#include "stage3_run/replay.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/checksum.hpp"
#include "base/error.hpp"
#include "base/stopwatch.hpp"
#include "config/overlay.hpp"
#include "ops/cpu/kernels.hpp"
#include "stage3_run/replay_operators.hpp"

namespace meshseek {
namespace {

constexpr double kBfloat16Tolerance = 1.0 / 256.0;  // one rounding
constexpr double kFloat32Tolerance = 1e-4;          // sums in another order

double tolerance_of(DataType dtype, bool same_kernels) {
  if (same_kernels) return 0.0;
  if (dtype == DataType::bfloat16) return kBfloat16Tolerance;
  return dtype == DataType::float32 ? kFloat32Tolerance : 0.0;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

ValueDifference value_difference(const Tensor& actual, const Tensor& recorded) {
  const std::vector<float> values = to_float_vector(actual);
  const std::vector<float> expected = to_float_vector(recorded);
  if (values.size() != expected.size()) {
    throw ShapeError(
        fmt::format("[compare] {} and {} have other numbers of values", to_string(actual.shape()), to_string(recorded.shape())));
  }
  ValueDifference difference;
  double squares = 0.0;
  double recorded_squares = 0.0;
  for (std::size_t idx = 0; idx < values.size(); ++idx) {
    const double gap = std::abs(static_cast<double>(values[idx]) - static_cast<double>(expected[idx]));
    if (!(gap <= difference.max_abs) && !std::isnan(difference.max_abs)) difference.max_abs = gap;  // a NaN stays
    squares += gap * gap;
    recorded_squares += static_cast<double>(expected[idx]) * static_cast<double>(expected[idx]);
  }
  difference.rms = std::sqrt(squares / static_cast<double>(values.size()));
  difference.rms_recorded = std::sqrt(recorded_squares / static_cast<double>(values.size()));
  return difference;
}

std::string to_string(const ValueDifference& difference) {
  return fmt::format("max abs difference {:.3e}, rms {:.3e}, rms of the recorded values {:.3e}", difference.max_abs, difference.rms,
                     difference.rms_recorded);
}

bool ReplayedCall::is_equal() const {
  return std::all_of(outputs.begin(), outputs.end(), [](const ReplayedOutput& output) { return output.is_equal(); });
}

std::string to_string(const ReplayedOutput& output) {
  const std::string head = fmt::format("{} {} {}", output.name, to_string(output.dtype), to_string(output.shape));
  if (output.equal_bits) return head + ": equal bits";
  const std::string verdict = output.is_equal() ? fmt::format("equal within {:.1e} of the recorded rms", output.tolerance) : "differs";
  return fmt::format("{}: {}; {}", head, verdict, to_string(output.difference));
}

Replayer::Replayer(const CaptureFile& capture, const Path& store, Device& device)
    : capture_(&capture),
      device_(&device),
      loader_(store.empty() ? Path(capture.header().store) : store, parse_mesh_shape(capture.header().mesh)) {}

ReplayedOutput Replayer::compare(const CapturedTensor& recorded, const NamedTensor& actual) const {
  const Tensor& tensor = actual.tensor;
  if (recorded.name != actual.name || recorded.shape != tensor.shape()) {
    throw Error(fmt::format("[{}] the output {} {} was recorded as {} {}; capture again", capture_->path().string(), actual.name,
                            to_string(tensor.shape()), recorded.name, to_string(recorded.shape)));
  }
  ReplayedOutput output = {.name = actual.name, .dtype = tensor.dtype(), .shape = tensor.shape()};
  output.equal_bits = recorded.dtype == tensor.dtype() && checksum_text(checksum64(tensor.bytes())) == recorded.checksum;
  output.tolerance = tolerance_of(tensor.dtype(), capture_->header().isa == cpu::kernels().isa);
  const Tensor before = capture_->load(recorded, *device_);  // read in any case: a damaged file is found
  if (!output.equal_bits) output.difference = value_difference(tensor, before);
  return output;
}

ReplayedCall Replayer::replay(std::int64_t index, const std::vector<std::string>& sets, int repetitions) {
  const CapturedCall& call = capture_->call(index);
  ReplayCall prepared = {.where = fmt::format("{} {}", capture_->path().string(), to_string(call)),
                         .config = call.config,
                         .arguments = call.arguments,
                         .call = &call,
                         .loader = &loader_};
  if (!sets.empty() && call.config.is_null()) throw ConfigError(fmt::format("[{}] has no config; there is nothing to set", prepared.where));
  for (const std::string& assignment : sets) apply_set(prepared.config, assignment);
  const Rerun rerun = find_replay_operator(call.op, prepared.where).prepare(prepared);
  std::vector<double> seconds;
  ReplayedCall result;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    ReplayInputs inputs(prepared.where);  // fresh ones: an operator may write to them
    for (const CapturedTensor& value : call.inputs) inputs.add(value.name, capture_->load(value, *device_));
    const auto start = std::chrono::steady_clock::now();
    const CallValues outputs = rerun(inputs);
    seconds.push_back(seconds_since(start));
    if (repetition > 0) continue;
    if (outputs.tensors().size() != call.outputs.size()) {
      throw Error(fmt::format("[{}] returned {} values but {} were recorded; capture again", prepared.where, outputs.tensors().size(),
                              call.outputs.size()));
    }
    for (std::size_t idx = 0; idx < call.outputs.size(); ++idx)
      result.outputs.push_back(compare(call.outputs[idx], outputs.tensors()[idx]));
  }
  result.seconds = median(std::move(seconds));
  return result;
}

}  // namespace meshseek
