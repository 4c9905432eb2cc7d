#include "cli/bench_convert.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <random>

#include "base/file.hpp"
#include "base/stopwatch.hpp"
#include "cli/terminal.hpp"
#include "hf/dequantise.hpp"
#include "modules/weight_output/weight_writer.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kCols = 2048;
constexpr std::int64_t kRows = 4096;                       ///< of one tensor: 8 million values
constexpr std::size_t kCopyBytes = std::size_t{64} << 20;  ///< of one thread: more than the caches hold

/// Normally distributed weights in bfloat16, the same for every tensor.
class MemorySource : public TensorSource {
 public:
  MemorySource() : values_(static_cast<std::size_t>(kRows * kCols)) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0F, 0.02F);
    for (bf16& value : values_) value = to_bf16(normal(random));
  }
  bool contains(std::string_view) const override { return true; }
  void check(std::string_view, const Shape&) const override {}
  void read(std::string_view, const MatrixPart& part, std::span<float> out) const override {
    const auto rows = std::as_bytes(std::span(values_)).subspan(static_cast<std::size_t>(part.first_row * kCols) * sizeof(bf16));
    widen(HfDtype::BF16, rows.first(out.size() * sizeof(bf16)), out);
  }
  std::string identity(std::string_view name, Trust) const override { return std::string(name); }
  std::string file_of(std::string_view) const override { return "memory"; }

 private:
  std::vector<bf16> values_;
};

/// A folder that is removed again.
class ScratchFolder {
 public:
  explicit ScratchFolder(const Path& parent) : path_(parent / fmt::format("bench_convert.{}", ::getpid())) {
    std::filesystem::create_directories(path_);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const Path& path() const { return path_; }

 private:
  Path path_;
};

double copy_rate(ThreadTeam& team, std::vector<std::vector<std::byte>>& buffers) {
  constexpr int kRounds = 8;
  const auto start = Clock::now();
  team.parallel_for(team.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t thread = begin; thread < end; ++thread) {
      for (int round = 0; round < kRounds; ++round) std::memcpy(buffers[2 * thread].data(), buffers[2 * thread + 1].data(), kCopyBytes);
    }
  });
  return static_cast<double>(team.size() * kRounds * kCopyBytes) / seconds_since(start);
}

/// Files like those of a conversion, written as a conversion writes them.
double write_rate(const std::vector<WeightJob>& jobs, const Path& folder) {
  std::vector<std::byte> piece(std::size_t{4} << 20);
  std::mt19937_64 random(2);
  for (std::byte& byte : piece) byte = static_cast<std::byte>(random());
  std::int64_t bytes = 0;
  const auto start = Clock::now();
  for (const WeightJob& job : jobs) {
    check_interrupted();
    AtomicFile out(folder / job.path);
    const auto size = static_cast<std::size_t>(storage_bytes(job.shape, job.dtype, Layout::tile));
    for (std::size_t offset = 0; offset < size; offset += piece.size()) {
      out.write_at(offset, std::span(piece).first(std::min(piece.size(), size - offset)));
    }
    out.start_flush();
    out.publish(false);
    bytes += static_cast<std::int64_t>(size);
  }
  for (const WeightJob& job : jobs) flush_to_disk(folder / job.path);
  const double seconds = seconds_since(start);
  for (const WeightJob& job : jobs) std::filesystem::remove(folder / job.path);
  return static_cast<double>(bytes) / seconds;
}

std::vector<WeightJob> jobs_of(const MemorySource& source, const BenchConvertOptions& options) {
  const Shape shape = {kRows, kCols};
  const std::int64_t each = storage_bytes(shape, options.dtype, Layout::tile);
  std::vector<WeightJob> jobs;
  for (std::int64_t idx = 0; idx < std::max<std::int64_t>(options.bytes / each, 1); ++idx) {
    WeightJob job = {.path = fmt::format("{}.tensorbin", idx), .shape = shape, .dtype = options.dtype};
    job.source = {&source, {{"w", 0, kRows}}};
    jobs.push_back(std::move(job));
  }
  return jobs;
}

double convert_rate(const std::vector<WeightJob>& jobs, const Path& folder, ThreadTeam& team) {
  std::int64_t bytes = 0;
  WeightWriterOptions options;
  options.on_bytes = [&](std::int64_t count) {
    bytes += count;
    check_interrupted();
  };
  const auto start = Clock::now();
  write_weights(jobs, folder, team, options);
  for (const WeightJob& job : jobs) flush_to_disk(folder / job.path);
  const double seconds = seconds_since(start);
  for (const WeightJob& job : jobs) std::filesystem::remove(folder / job.path);
  return static_cast<double>(bytes) / seconds;
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2.0;
}

BenchConvertResult bench_convert(const BenchConvertOptions& options, ThreadTeam& team) {
  const ScratchFolder scratch(options.folder);
  const MemorySource source;
  const std::vector<WeightJob> jobs = jobs_of(source, options);
  std::vector<std::vector<std::byte>> buffers(2 * team.size(), std::vector<std::byte>(kCopyBytes, std::byte{1}));
  // One small round of each warms up caches, pages and the disk.
  copy_rate(team, buffers);
  write_rate({jobs.front()}, scratch.path());
  convert_rate({jobs.front()}, scratch.path(), team);
  BenchConvertResult result;
  for (int rep = 0; rep < options.num_reps; ++rep) {
    result.memcpy_rate.push_back(copy_rate(team, buffers));
    result.write_rate.push_back(write_rate(jobs, scratch.path()));
    result.convert_rate.push_back(convert_rate(jobs, scratch.path(), team));
  }
  return result;
}

}  // namespace meshseek::cli
