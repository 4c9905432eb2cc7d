#include "cli/progress.hpp"

#include <fmt/format.h>

#include "cli/terminal.hpp"

namespace meshseek::cli {
namespace {

constexpr double kRewriteInterval = 0.2;
constexpr double kPlainInterval = 3.0;

double megabytes_per_second(std::int64_t bytes, double seconds) { return seconds > 0.0 ? static_cast<double>(bytes) / 1e6 / seconds : 0.0; }

}  // namespace

std::string format_bytes(std::int64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (value >= 1e9) return fmt::format("{:.2f} GB", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.1f} MB", value / 1e6);
  if (value >= 1e3) return fmt::format("{:.1f} kB", value / 1e3);
  return fmt::format("{} bytes", bytes);
}

std::string summary(const ConvertReport& report) {
  return fmt::format("{} tensors, {}, {:.2f} s, {:.1f} MB/s, {} up to date", report.files.size(), format_bytes(report.bytes), report.seconds,
                     megabytes_per_second(report.bytes_written, report.seconds), report.num_up_to_date);
}

ProgressLine::ProgressLine() : rewrites_(stderr_is_terminal()) {}

ProgressLine::~ProgressLine() {
  if (is_line_open_) print_note("");
}

void ProgressLine::update(double seconds, const std::function<std::string()>& line) {
  check_interrupted();
  if (seconds - last_shown_s_ < (rewrites_ ? kRewriteInterval : kPlainInterval)) return;
  last_shown_s_ = seconds;
  if (!rewrites_) return print_note(line());
  is_line_open_ = true;
  rewrite_note(line());
}

std::string byte_progress(std::string_view what, std::int64_t bytes_done, std::int64_t num_bytes, double seconds) {
  const double rest = static_cast<double>(num_bytes - bytes_done);
  const double eta = bytes_done > 0 ? rest * seconds / static_cast<double>(bytes_done) : 0.0;
  return fmt::format("{}: {} of {}, {:.1f} MB/s, ETA {:.0f} s", what, format_bytes(bytes_done), format_bytes(num_bytes),
                     megabytes_per_second(bytes_done, seconds), eta);
}

std::function<void(const ConvertProgress&)> show_conversion(ProgressLine& line) {
  return [&line](const ConvertProgress& state) {
    line.update(state.seconds, [&] {
      const std::string what = fmt::format("convert: {} of {} files", state.files_done, state.num_files);
      return byte_progress(what, state.bytes_done, state.num_bytes, state.seconds);
    });
  };
}

}  // namespace meshseek::cli
