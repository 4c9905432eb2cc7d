#include "cli/progress.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cli/terminal.hpp"

namespace meshseek::cli {
namespace {

constexpr double kRewriteInterval = 0.2;
constexpr double kPlainInterval = 3.0;

std::string line_of(const std::string& verb, const ProgressState& state) {
  const auto bytes_done = static_cast<double>(state.bytes_done);
  const double rest = std::max(0.0, static_cast<double>(state.expected_bytes) - bytes_done);
  const double eta = state.bytes_done > 0 ? rest * state.seconds / bytes_done : 0.0;
  return fmt::format("{}: {} files, {} of {}, {:.1f} MB/s, ETA {:.0f} s", verb, state.files_done, format_bytes(state.bytes_done),
                     format_bytes(state.expected_bytes), megabytes_per_second(state.bytes_done, state.seconds), eta);
}

}  // namespace

std::string format_bytes(std::int64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (value >= 1e9) return fmt::format("{:.2f} GB", value / 1e9);
  if (value >= 1e6) return fmt::format("{:.1f} MB", value / 1e6);
  if (value >= 1e3) return fmt::format("{:.1f} kB", value / 1e3);
  return fmt::format("{} bytes", bytes);
}

double megabytes_per_second(std::int64_t bytes, double seconds) { return seconds > 0.0 ? static_cast<double>(bytes) / 1e6 / seconds : 0.0; }

std::string summary(std::int64_t num_tensors, std::int64_t bytes, double seconds) {
  return fmt::format("{} tensors, {}, {:.2f} s, {:.1f} MB/s", num_tensors, format_bytes(bytes), seconds,
                     megabytes_per_second(bytes, seconds));
}

std::string summary(const ConvertReport& report) {
  return fmt::format("{} tensors, {}, {:.2f} s, {:.1f} MB/s, {} up to date", report.files.size(), format_bytes(report.bytes),
                     report.seconds, megabytes_per_second(report.bytes_written, report.seconds), report.num_up_to_date);
}

ProgressLine::ProgressLine(std::string verb) : verb_(std::move(verb)), rewrites_(stderr_is_terminal()) {}

ProgressLine::~ProgressLine() {
  if (is_line_open_) print_note("");
}

void ProgressLine::update(const ProgressState& state) {
  check_interrupted();
  if (state.seconds - last_shown_s_ < (rewrites_ ? kRewriteInterval : kPlainInterval)) return;
  last_shown_s_ = state.seconds;
  if (!rewrites_) return print_note(line_of(verb_, state));
  is_line_open_ = true;
  rewrite_note(line_of(verb_, state));
}

std::function<void(const ConvertProgress&)> show_conversion(ProgressLine& line) {
  return [&line](const ConvertProgress& progress) {
    line.update({progress.files_done, progress.bytes_done, progress.num_bytes, progress.seconds});
  };
}

}  // namespace meshseek::cli
