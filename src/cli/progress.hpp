/// The progress line of a conversion.
#pragma once
#include <chrono>
#include <string>

#include "hf/hf_config.hpp"
#include "stage1_convert/convert.hpp"

namespace meshseek::cli {

/// On a terminal one line that is rewritten; otherwise a plain line every few seconds. Always on stderr.
class ConversionProgress {
 public:
  /// \param hf, dtype what the size of the result is guessed from, for the ETA
  ConversionProgress(const HfConfig& hf, DataType dtype);
  ~ConversionProgress();
  ConversionProgress(const ConversionProgress&) = delete;
  ConversionProgress& operator=(const ConversionProgress&) = delete;

  /// Shows the state, at most a few times a second. \throws Interrupted after a SIGINT.
  void update(const ConvertProgress& progress);

 private:
  std::string line(const ConvertProgress& progress) const;

  double growth_;  ///< bytes of the result over bytes of the source
  bool rewrites_;
  bool is_line_open_ = false;
  double last_shown_s_ = 0.0;
};

/// "115 tensors, 9.9 MB, 0.81 s, 12.2 MB/s, 0 up to date"
std::string summary(const ConvertReport& report);
/// "9.9 MB"
std::string format_bytes(std::int64_t bytes);

}  // namespace meshseek::cli
