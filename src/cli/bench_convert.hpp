/// Measures conversion against what disk and memory of this machine give in the same run.
#pragma once
#include <cstdint>
#include <vector>

#include "base/mapped_file.hpp"
#include "base/thread_team.hpp"
#include "tensor/dtype.hpp"

namespace meshseek::cli {

struct BenchConvertOptions {
  Path folder = {};                            ///< on the disk that is measured; made when missing, and what is written is removed
  std::int64_t bytes = std::int64_t{1} << 30;  ///< written in each repetition
  DataType dtype = DataType::bfloat8_b;
  int num_reps = 3;
};

/// Bytes per second, one of each for every repetition: they alternate, so that all meet the same neighbours.
struct BenchConvertResult {
  std::vector<double> memcpy_rate = {};   ///< copied, on all threads
  std::vector<double> write_rate = {};    ///< written and flushed by one thread
  std::vector<double> convert_rate = {};  ///< of the result: bfloat16 values in memory become flushed tensor files
};

double median(std::vector<double> values);

/// \throws Error: not writable, full
BenchConvertResult bench_convert(const BenchConvertOptions& options, ThreadTeam& team);

}  // namespace meshseek::cli
