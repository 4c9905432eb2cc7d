/// The progress line of long work.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "stage1_convert/convert.hpp"

namespace meshseek::cli {

/// On a terminal one line that is rewritten; otherwise a plain line every few seconds. Always on stderr.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Shows `line()`, at most a few times a second. \throws Interrupted after a SIGINT.
  void update(double seconds, const std::function<std::string()>& line);

 private:
  bool rewrites_;
  bool is_line_open_ = false;
  double last_shown_s_ = 0.0;
};

/// "verify: 1.20 GB of 3.10 GB, 890.0 MB/s, ETA 2 s"
std::string byte_progress(std::string_view what, std::int64_t bytes_done, std::int64_t num_bytes, double seconds);
/// The progress of a conversion, for ConvertOptions::on_progress; `line` must live as long as the conversion.
std::function<void(const ConvertProgress&)> show_conversion(ProgressLine& line);

/// "115 tensors, 9.9 MB, 0.81 s, 12.2 MB/s, 0 up to date"
std::string summary(const ConvertReport& report);
/// "9.9 MB"
std::string format_bytes(std::int64_t bytes);

}  // namespace meshseek::cli
