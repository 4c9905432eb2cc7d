/// The results of `meshseek bench` as text, Markdown and JSON.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "cli/bench_model.hpp"
#include "config/tree.hpp"

namespace meshseek::cli {

struct BenchReport {
  std::string isa = {};
  std::int64_t threads = 0;
  std::string model = {};
  std::int64_t layers = 0;
  std::string dtype = {};
  std::int64_t file_bytes = 0;
  double load_s = 0.0;
  std::int64_t peak_rss_bytes = 0;
  std::int64_t calibration_bytes = 0;  ///< of peak_rss_bytes: memory that the calibration reads
  std::vector<BenchRow> rows = {};
};

enum class TableStyle : std::uint8_t { plain, markdown };
std::string to_table(const BenchReport& report, TableStyle style);
/// Operators of each row, the dearest first, and what lies between them.
std::string breakdown_table(const BenchReport& report, TableStyle style);
Tree to_tree(const BenchReport& report);

}  // namespace meshseek::cli
