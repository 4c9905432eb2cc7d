#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <utility>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/sha256.hpp"
#include "modules/weight_output/weight_writer.hpp"
#include "tensor/tensor.hpp"

namespace meshseek {
namespace {

constexpr std::int64_t kMaxChunkValues = std::int64_t{1} << 19;
/// Stored form, float32 and encoded form of a value, none of them above 4 bytes.
constexpr std::int64_t kBytesPerValue = 12;
/// Threads that share a file: hashing and writing one after the other keep up with so many encoders.
constexpr std::size_t kThreadsPerFile = 4;

void add_error(EncodingError& error, const WeightJob& job, const Shape& shape, const ChunkBuffers& buffers) {
  const Tensor stored(shape, job.dtype, job.layout, buffers.encoded, nullptr);
  const std::vector<float> values = to_float_vector(stored);
  for (std::size_t idx = 0; idx < values.size(); ++idx) {
    const double source = buffers.values[idx];
    const double difference = static_cast<double>(values[idx]) - source;
    error.sum_squares += source * source;
    error.sum_squared_error += difference * difference;
    error.max_error = std::max(error.max_error, std::abs(difference));
  }
  error.num_values += static_cast<std::int64_t>(values.size());
}

/// A file whose chunks are encoded by several threads and appended in order.
class FileInProgress {
 public:
  FileInProgress(std::size_t job_idx, const WeightJob& job, const Path& folder, std::int64_t max_values, const std::atomic<bool>& stopped)
      : job_idx_(job_idx),
        job_(job),
        pieces_(pieces_of(job)),
        plan_(plan_file(job, pieces_)),
        stopped_(stopped),
        file_(prepare(folder / job.path)) {
    chunks_ = chunks_of(job, pieces_, plan_, max_values);
    put(plan_.head);
  }

  std::size_t job_idx() const { return job_idx_; }
  const WeightJob& job() const { return job_; }
  const WeightPieces& pieces() const { return pieces_; }
  const WeightChunk& chunk(std::size_t chunk_idx) const { return chunks_[chunk_idx]; }

  /// The next chunk to encode; chunks_.size() when all are dealt out. Guarded by the lane's mutex.
  std::size_t deal() { return next_dealt_ < chunks_.size() ? next_dealt_++ : chunks_.size(); }
  bool is_end(std::size_t chunk_idx) const { return chunk_idx == chunks_.size(); }

  /// Waits for the chunks before it, then appends. \return true after the last one: the file has its name
  bool append(std::size_t chunk_idx, const ChunkBuffers& buffers) {
    std::unique_lock lock(mutex_);
    // Those who hold earlier chunks are at work; only a failure leaves a gap, and then everybody stops.
    while (next_appended_ != chunk_idx) {
      if (stopped_) return false;
      turn_.wait_for(lock, std::chrono::milliseconds(20));
    }
    put_zeros(chunks_[chunk_idx].file_offset - written_);
    put(buffers.encoded);
    ++next_appended_;
    turn_.notify_all();
    if (next_appended_ < chunks_.size()) return false;
    file_.start_flush();
    file_.publish(false);
    return true;
  }

  /// After the last chunk.
  WrittenFile finish() { return {.bytes = static_cast<std::int64_t>(written_), .sha256 = hash_.finish(), .blocks = sums_.blocks()}; }

 private:
  static Path prepare(const Path& path) {
    std::filesystem::create_directories(path.parent_path());
    return path;
  }
  void put(std::span<const std::byte> bytes) {
    file_.write_at(written_, bytes);
    hash_.update(bytes);
    sums_.update(bytes);
    written_ += bytes.size();
  }
  void put_zeros(std::uint64_t count) { put(std::vector<std::byte>(count)); }

  std::size_t job_idx_;
  const WeightJob& job_;
  WeightPieces pieces_;
  TensorFilePlan plan_;
  std::vector<WeightChunk> chunks_;
  std::size_t next_dealt_ = 0;
  const std::atomic<bool>& stopped_;

  std::mutex mutex_;  ///< guards what follows
  std::condition_variable turn_;
  std::size_t next_appended_ = 0;
  AtomicFile file_;
  Sha256 hash_;
  BlockSums sums_;
  std::uint64_t written_ = 0;
};

/// All jobs, dealt out to the threads.
class Writer {
 public:
  Writer(std::span<const WeightJob> jobs, const Path& folder, const WeightWriterOptions& options)
      : jobs_(jobs), folder_(folder), options_(options) {}

  void run(ThreadTeam& team) {
    const std::size_t num_threads = plan_memory(team.size());
    lanes_ = std::vector<Lane>((num_threads + kThreadsPerFile - 1) / kThreadsPerFile);
    team.parallel_for(num_threads, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t thread_idx = begin; thread_idx < end; ++thread_idx) {
        try {
          work(lanes_[thread_idx % lanes_.size()]);
        } catch (...) {
          stopped_ = true;
          throw;
        }
      }
    });
  }

 private:
  /// The file that a group of threads works on.
  struct Lane {
    std::mutex mutex = {};
    std::shared_ptr<FileInProgress> file = {};
  };
  struct Assignment {
    std::shared_ptr<FileInProgress> file = {};
    std::size_t chunk_idx = 0;
  };

  /// Chooses the chunk size. \return how many threads the memory is enough for
  std::size_t plan_memory(std::size_t num_threads) {
    if (options_.memory_limit == 0) return num_threads;
    std::int64_t least = 1;
    for (const WeightJob& job : jobs_) least = std::max(least, chunk_values(job, pieces_of(job), 1));
    const std::int64_t budget = options_.memory_limit / kBytesPerValue;
    if (budget < least) {
      throw Error(fmt::format("[convert] {} bytes of memory are not enough for the buffers of one thread; expected at least {}",
                              options_.memory_limit, least * kBytesPerValue));
    }
    const std::int64_t affordable = std::min(static_cast<std::int64_t>(num_threads), budget / least);
    max_values_ = std::min(kMaxChunkValues, budget / affordable);
    return static_cast<std::size_t>(affordable);
  }

  Assignment next(Lane& lane) {
    const std::lock_guard lock(lane.mutex);
    while (!stopped_) {
      if (lane.file != nullptr) {
        const std::size_t chunk_idx = lane.file->deal();
        if (!lane.file->is_end(chunk_idx)) return {lane.file, chunk_idx};
      }
      const std::size_t job_idx = next_job_++;
      if (job_idx >= jobs_.size()) break;
      lane.file = std::make_shared<FileInProgress>(job_idx, jobs_[job_idx], folder_, max_values_, stopped_);
    }
    return {};
  }

  void work(Lane& lane) {
    ChunkBuffers buffers;
    for (Assignment task = next(lane); task.file != nullptr; task = next(lane)) {
      const WeightJob& job = task.file->job();
      const WeightChunk& chunk = task.file->chunk(task.chunk_idx);
      encode_chunk(job, task.file->pieces(), chunk, buffers);
      const bool is_whole = task.file->append(task.chunk_idx, buffers);
      report(*task.file, is_whole, static_cast<std::int64_t>(buffers.encoded.size()));
    }
  }

  void report(FileInProgress& file, bool is_whole, std::int64_t bytes) {
    const std::lock_guard lock(report_mutex_);
    if (stopped_) return;
    if (is_whole && options_.on_file) options_.on_file(file.job_idx(), file.finish());
    if (options_.on_bytes) options_.on_bytes(bytes);
  }

  std::span<const WeightJob> jobs_;
  const Path& folder_;
  const WeightWriterOptions& options_;
  std::int64_t max_values_ = kMaxChunkValues;
  std::vector<Lane> lanes_;
  std::atomic<std::size_t> next_job_ = 0;
  std::atomic<bool> stopped_ = false;
  std::mutex report_mutex_;
};

}  // namespace

void write_weights(std::span<const WeightJob> jobs, const Path& folder, ThreadTeam& team, const WeightWriterOptions& options) {
  Writer(jobs, folder, options).run(team);
}

std::vector<EncodingError> measure_errors(std::span<const WeightJob> jobs, ThreadTeam& team) {
  std::vector<EncodingError> errors(jobs.size());
  team.parallel_for(jobs.size(), 1, [&](std::size_t begin, std::size_t end) {
    ChunkBuffers buffers;
    for (std::size_t job_idx = begin; job_idx < end; ++job_idx) {
      const WeightPieces pieces = pieces_of(jobs[job_idx]);
      for (const WeightChunk& chunk : chunks_of(jobs[job_idx], pieces, plan_file(jobs[job_idx], pieces), kMaxChunkValues)) {
        encode_chunk(jobs[job_idx], pieces, chunk, buffers);
        add_error(errors[job_idx], jobs[job_idx], {chunk.num_rows, pieces.shape.empty() ? 1 : pieces.shape.back()}, buffers);
      }
    }
  });
  return errors;
}

}  // namespace meshseek
