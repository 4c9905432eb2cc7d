/// Writes checkpoints of any config with random weights that are distributed as R1's are: for tests and benchmarks at real shapes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/mapped_file.hpp"
#include "config/tree.hpp"

namespace meshseek {

struct GenerateProgress {
  std::int64_t files_done = 0;
  std::int64_t bytes_done = 0;
  std::int64_t total_bytes = 0;
  double seconds = 0.0;
};

struct GenerateOptions {
  std::uint64_t seed = 0;
  std::size_t num_threads = 0;  ///< 0: one per usable core; never changes what is written
  /// A file has at most so many bytes of tensors, or a single tensor that has more.
  std::int64_t max_file_bytes = 2'000'000'000;
  /// Called a few times a second, on the calling thread; what it throws ends the work.
  std::function<void(const GenerateProgress&)> on_progress = {};
};

struct GenerateReport {
  std::int64_t num_tensors = 0;
  std::int64_t bytes = 0;  ///< of tensors
  double seconds = 0.0;
};

/// Writes model-0000i-of-0000n.safetensors, model.safetensors.index.json and, last, config.json into `folder`, which is made when missing.
/// A config with quantization_config gives FP8 projections with block scales. Equal configs and seeds give equal bytes; a tensor depends on
/// the seed, its name, shape and format only, so that the layers of a shorter model equal the first ones of a longer model.
/// Takes a second or two per gigabyte on two cores or as long as the disk needs, and a few megabytes of memory per thread.
/// \param config a config.json as parse_hf_config() takes it
/// \throws Error: bad config; `folder` is a file or is not empty; the disk lacks the space, or gets full. What was written is removed then.
GenerateReport generate_checkpoint(const Tree& config, const Path& folder, const GenerateOptions& options = {});

}  // namespace meshseek
