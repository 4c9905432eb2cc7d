/// Writes tensor files in a stream: source -> float32 -> encoded -> file, piece by piece on all threads.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/block_sums.hpp"
#include "base/thread_team.hpp"
#include "modules/weight_output/weight_job.hpp"

namespace meshseek {

/// How far the stored values are from the source's.
struct EncodingError {
  double sum_squares = 0.0;  ///< of the source
  double sum_squared_error = 0.0;
  double max_error = 0.0;
  std::int64_t num_values = 0;
};

/// One finished file.
struct WrittenFile {
  std::int64_t bytes = 0;
  std::string sha256 = {};
  std::vector<BlockSum> blocks = {};
};

struct WeightWriterOptions {
  std::int64_t memory_limit = 0;  ///< bytes for the buffers of all threads; 0: no limit
  /// After each file, one call at a time; `job_idx` counts the jobs.
  std::function<void(std::size_t job_idx, WrittenFile file)> on_file = {};
  /// After each chunk with its encoded bytes, one call at a time. An exception ends the writing.
  std::function<void(std::int64_t)> on_bytes = {};
};

/// Writes `folder`/job.path for every job, each under a temporary name until it is whole. The bytes do not depend on threads or memory.
/// Memory: per thread one chunk (at most 2 MB of float32, or one row of tiles) in its stored, float32 and encoded form.
/// \throws Error: the source cannot be read, the disk is full, a memory limit below what one thread needs. Files that are whole stay.
void write_weights(std::span<const WeightJob> jobs, const Path& folder, ThreadTeam& team, const WeightWriterOptions& options = {});

/// Encodes every job as write_weights() does, without writing, and compares with the source. \return one for each job
std::vector<EncodingError> measure_errors(std::span<const WeightJob> jobs, ThreadTeam& team);

}  // namespace meshseek
