#include "cli/progress.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/terminal.hpp"

namespace meshseek::cli {
namespace {

constexpr double kRewriteInterval = 0.2;
constexpr double kPlainInterval = 3.0;

double bits_of(DataType dtype) {
  switch (dtype) {
    case DataType::bfloat8_b:
      return 8.5;  // 8 bits and a share of the common exponent
    case DataType::bfloat4_b:
      return 4.5;
    case DataType::float32:
      return 32.0;
    default:
      return 16.0;
  }
}

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
  const double rate = report.up_to_date ? 0.0 : megabytes_per_second(report.bytes, report.seconds);
  return fmt::format("{} tensors, {}, {:.2f} s, {:.1f} MB/s, {} up to date", report.num_tensors, format_bytes(report.bytes), report.seconds,
                     rate, report.up_to_date ? report.num_tensors : 0);
}

ConversionProgress::ConversionProgress(const HfConfig& hf, DataType dtype)
    : growth_(bits_of(dtype) / (hf.weight_block_size.empty() ? 16.0 : 8.0)), rewrites_(stderr_is_terminal()) {}

ConversionProgress::~ConversionProgress() {
  if (is_line_open_) print_note("");
}

std::string ConversionProgress::line(const ConvertProgress& progress) const {
  const double expected = std::max(static_cast<double>(progress.source_bytes) * growth_, static_cast<double>(progress.bytes_done));
  const double rest = expected - static_cast<double>(progress.bytes_done);
  const double eta = progress.bytes_done > 0 ? rest * progress.seconds / static_cast<double>(progress.bytes_done) : 0.0;
  return fmt::format("convert: {} files, {} of about {}, {:.1f} MB/s, ETA {:.0f} s", progress.files_done, format_bytes(progress.bytes_done),
                     format_bytes(static_cast<std::int64_t>(expected)), megabytes_per_second(progress.bytes_done, progress.seconds), eta);
}

void ConversionProgress::update(const ConvertProgress& progress) {
  check_interrupted();
  if (progress.seconds - last_shown_s_ < (rewrites_ ? kRewriteInterval : kPlainInterval)) return;
  last_shown_s_ = progress.seconds;
  if (!rewrites_) return print_note(line(progress));
  is_line_open_ = true;
  rewrite_note(line(progress));
}

}  // namespace meshseek::cli
