/// Progress lines and last lines of verbs that write many files.
#pragma once
#include <cstdint>
#include <string>

#include "hf/hf_config.hpp"
#include "stage1_convert/convert.hpp"

namespace meshseek::cli {

/// How far a verb is.
struct ProgressState {
  std::int64_t files_done = 0;
  std::int64_t bytes_done = 0;
  std::int64_t expected_bytes = 0;
  bool is_estimate = false;  ///< expected_bytes is a guess
  double seconds = 0.0;
};

/// On a terminal one line that is rewritten; otherwise a plain line every few seconds. Always on stderr.
class ProgressLine {
 public:
  /// \param verb what the line begins with
  explicit ProgressLine(std::string verb);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Shows the state, at most a few times a second. \throws Interrupted after a SIGINT.
  void update(const ProgressState& state);

 private:
  std::string verb_;
  bool rewrites_;
  bool is_line_open_ = false;
  double last_shown_s_ = 0.0;
};

/// The progress line of a conversion.
class ConversionProgress {
 public:
  /// \param hf, dtype what the size of the result is guessed from, for the ETA
  ConversionProgress(const HfConfig& hf, DataType dtype);
  /// See ProgressLine::update().
  void update(const ConvertProgress& progress);

 private:
  double growth_;  ///< bytes of the result over bytes of the source
  ProgressLine line_{"convert"};
};

/// "115 tensors, 9.9 MB, 0.81 s, 12.2 MB/s"
std::string summary(std::int64_t num_tensors, std::int64_t bytes, double seconds);
/// "115 tensors, 9.9 MB, 0.81 s, 12.2 MB/s, 0 up to date"
std::string summary(const ConvertReport& report);
/// Millions of bytes per second; 0 when no time has passed.
double megabytes_per_second(std::int64_t bytes, double seconds);
/// "9.9 MB"
std::string format_bytes(std::int64_t bytes);

}  // namespace meshseek::cli
