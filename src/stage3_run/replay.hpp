/// Runs captured operator calls again, alone, and compares; compares two captures.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mesh/device.hpp"
#include "ops/capture.hpp"
#include "stage3_run/capture_file.hpp"
#include "stage3_run/weight_loader.hpp"

namespace meshseek {

/// How far values are from those recorded. NaN stays NaN.
struct ValueDifference {
  double max_abs = 0.0;       ///< largest difference
  double rms = 0.0;           ///< root mean square of the difference
  double rms_recorded = 0.0;  ///< of the recorded values
};
/// \throws ShapeError unless both have equally many values.
ValueDifference value_difference(const Tensor& actual, const Tensor& recorded);
std::string to_string(const ValueDifference& difference);

/// One output of a call that was run again, against the recorded one.
struct ReplayedOutput {
  std::string name = {};
  DataType dtype = DataType::float32;
  Shape shape = {};
  bool equal_bits = false;
  ValueDifference difference = {};  ///< zeros when the bits are equal
  double tolerance = 0.0;           ///< largest rms / rms_recorded that counts as equal; 0: only equal bits do
  bool is_equal() const { return equal_bits || (tolerance > 0.0 && difference.rms <= tolerance * difference.rms_recorded); }
};

struct ReplayedCall {
  std::vector<ReplayedOutput> outputs = {};
  double seconds = 0.0;  ///< median
  bool is_equal() const;
};

/// "y bfloat16 [7, 128]: equal bits"
std::string to_string(const ReplayedOutput& output);

/// Replays the calls of one capture.
class Replayer {
 public:
  /// \param store where the weights are now; empty: where the header says
  Replayer(const CaptureFile& capture, const Path& store, Device& device);

  /// Runs call `index` `repetitions` times with inputs of its own and compares the first result.
  ///
  /// With the kernels of the capture (header.isa) only equal bits are equal. With other kernels the sums have another order: the difference may have a root mean
  /// square of 2^-8 of the recorded values for bfloat16, 1e-4 for float32; integers must be equal.
  /// \param sets "field=value" changes to the operator's config
  /// \throws Error, ConfigError: whatever in the capture or in the store does not fit, by its words.
  ReplayedCall replay(std::int64_t index, const std::vector<std::string>& sets, int repetitions);

 private:
  ReplayedOutput compare(const CapturedTensor& recorded, const NamedTensor& actual) const;

  const CaptureFile* capture_;
  Device* device_;
  WeightLoader loader_;
};

/// What two captures differ in.
struct CaptureComparison {
  std::vector<std::string> config_differences = {};  ///< one line each: path, field, both values; up to the first difference in values
  std::optional<std::string> first_difference = {};  ///< one line; unset: every value of every call is equal
  std::int64_t num_calls = 0;                        ///< compared
};
/// Works without the data folders; with them the difference in values is named, too.
CaptureComparison compare_captures(const CaptureFile& a, const CaptureFile& b);

}  // namespace meshseek
