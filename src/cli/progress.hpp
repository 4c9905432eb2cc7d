/// Progress lines and last lines of verbs that take long.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "stage1_convert/convert.hpp"

namespace meshseek::cli {

/// How far a verb is.
struct ProgressState {
  std::int64_t files_done = 0;
  std::int64_t bytes_done = 0;
  std::int64_t expected_bytes = 0;
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

/// Shows a conversion, for ConvertOptions::on_progress; `line` must live as long as the conversion.
std::function<void(const ConvertProgress&)> show_conversion(ProgressLine& line);

/// "115 tensors, 9.9 MB, 0.81 s, 12.2 MB/s"
std::string summary(std::int64_t num_tensors, std::int64_t bytes, double seconds);
/// The same of what was written, and ", 0 up to date"
std::string summary(const ConvertReport& report);
/// Millions of bytes per second; 0 when no time has passed.
double megabytes_per_second(std::int64_t bytes, double seconds);
/// "9.9 MB"
std::string format_bytes(std::int64_t bytes);

}  // namespace meshseek::cli
