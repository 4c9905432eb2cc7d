#include "cli/bench_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace meshseek::cli {
namespace {

using Cells = std::vector<std::string>;

/// The first column left, the others right.
std::string table(const std::vector<Cells>& rows, TableStyle style) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const Cells& row : rows) {
    for (std::size_t col = 0; col < row.size(); ++col) widths[col] = std::max(widths[col], row[col].size());
  }
  const bool markdown = style == TableStyle::markdown;
  std::string text;
  for (std::size_t idx = 0; idx < rows.size(); ++idx) {
    std::string line = markdown ? "|" : "";
    for (std::size_t col = 0; col < widths.size(); ++col) {
      line += col == 0 ? fmt::format("{}{:<{}}", markdown ? " " : "", rows[idx][col], widths[col])
                       : fmt::format("{}{:>{}}", markdown ? " " : "  ", rows[idx][col], widths[col]);
      if (markdown) line += " |";
    }
    text += line + "\n";
    if (!markdown || idx > 0) continue;
    text += "|";
    for (std::size_t col = 0; col < widths.size(); ++col) text += col == 0 ? "---|" : "---:|";
    text += "\n";
  }
  return text;
}

/// Time of a pass that no operator had.
double between(const BenchRow& row) {
  double seconds = row.breakdown_wall_s;
  for (const auto& [name, time] : row.breakdown) seconds -= time.seconds;
  return seconds;
}

std::vector<std::pair<std::string, OperatorTime>> sorted_breakdown(const BenchRow& row) {
  std::vector<std::pair<std::string, OperatorTime>> times(row.breakdown.begin(), row.breakdown.end());
  std::stable_sort(times.begin(), times.end(), [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  times.push_back({"other (between operators)", {.seconds = between(row), .calls = 0}});
  return times;
}

Tree row_tree(const BenchRow& row) {
  Tree tree;
  tree.set("test", Tree(row.test.name()));
  tree.set("batch", Tree(row.test.batch));
  tree.set("tok_s", Tree(row.mean()));
  tree.set("tok_s_sd", Tree(row.deviation()));
  tree.set("bytes_per_token", Tree(row.bytes_per_token()));
  tree.set("flop_per_token", Tree(row.flop_per_token()));
  tree.set("bf16_flop_per_token", Tree(row.bf16_flop_per_token()));
  tree.set("int16_flop_per_token", Tree(row.int16_flop_per_token()));
  tree.set("int8_flop_per_token", Tree(row.int8_flop_per_token()));
  tree.set("experts_touched", Tree(row.experts_touched));
  tree.set("gb_s", Tree(row.mean() * row.bytes_per_token() / 1e9));
  tree.set("tflop_s", Tree(row.mean() * row.flop_per_token() / 1e12));
  tree.set("limit", Tree(row.is_memory_bound() ? "memory" : "compute"));
  tree.set("share", Tree(row.share()));
  tree.set("read_gb_s", Tree(row.rates.read_bytes_s / 1e9));
  tree.set("fp32_tflop_s", Tree(row.rates.fp32_flop_s / 1e12));
  tree.set("bf16_tflop_s", Tree(row.rates.bf16_flop_s / 1e12));
  tree.set("int16_top_s", Tree(row.rates.int16_op_s / 1e12));
  tree.set("int8_top_s", Tree(row.rates.int8_op_s / 1e12));
  tree.set("drift", Tree(row.drift));
  if (row.breakdown.empty()) return tree;
  Tree::Array operators;
  for (const auto& [name, time] : sorted_breakdown(row)) {
    Tree op;
    op.set("operator", Tree(name));
    op.set("calls", Tree(time.calls));
    op.set("seconds", Tree(time.seconds));
    operators.push_back(std::move(op));
  }
  tree.set("wall_s", Tree(row.breakdown_wall_s));
  tree.set("breakdown", Tree(std::move(operators)));
  return tree;
}

Tree machine_tree(const BenchReport& report) {
  double read = 0.0;
  double fp32 = 0.0;
  double bf16 = 0.0;
  double int8 = 0.0;
  bool has_tiles = false;
  for (const BenchRow& row : report.rows) {
    read = std::max(read, row.rates.read_bytes_s);
    fp32 = std::max(fp32, row.rates.fp32_flop_s);
    bf16 = std::max(bf16, row.rates.bf16_flop_s);
    int8 = std::max(int8, row.rates.int8_op_s);
    has_tiles = has_tiles || row.rates.has_tiles;
  }
  Tree machine;
  machine.set("read_gb_s", Tree(read / 1e9));
  machine.set("amx_bf16_tflop_s", has_tiles ? Tree(bf16 / 1e12) : Tree());
  machine.set("amx_int8_top_s", has_tiles ? Tree(int8 / 1e12) : Tree());
  machine.set("fp32_tflop_s", Tree(fp32 / 1e12));
  machine.set("int8_top_s", Tree(int8 / 1e12));
  machine.set("threads", Tree(report.threads));
  machine.set("isa", Tree(report.isa));
  return machine;
}

}  // namespace

std::string to_table(const BenchReport& report, TableStyle style) {
  std::vector<Cells> rows = {
      {"test", "batch", "tok/s", "sd", "MB/token", "GFLOP/token", "experts", "GB/s", "TFLOP/s", "limit", "share", "drift"}};
  for (const BenchRow& row : report.rows) {
    rows.push_back({row.test.name(), fmt::format("{}", row.test.batch), fmt::format("{:.2f}", row.mean()),
                    fmt::format("{:.2f}", row.deviation()), fmt::format("{:.1f}", row.bytes_per_token() / 1e6),
                    fmt::format("{:.3f}", row.flop_per_token() / 1e9), fmt::format("{:.1f}", row.experts_touched),
                    fmt::format("{:.2f}", row.mean() * row.bytes_per_token() / 1e9),
                    fmt::format("{:.3f}", row.mean() * row.flop_per_token() / 1e12), row.is_memory_bound() ? "memory" : "compute",
                    fmt::format("{:.2f}", row.share()), fmt::format("{:.0f} %", 100.0 * row.drift)});
  }
  std::string text = fmt::format("{}: {} layers, {}, {:.2f} GB; {} threads, {}\n", report.model, report.layers, report.dtype,
                                 static_cast<double>(report.file_bytes) / 1e9, report.threads, report.isa);
  if (style == TableStyle::markdown) text += "\n";
  text += table(rows, style);
  const BenchRow& last = report.rows.back();
  if (style == TableStyle::markdown) text += "\n";
  return text + fmt::format(
                    "machine: reads {:.1f} GB/s, {:.3f} TFLOP/s float32, {:.3f} bf16, {:.3f} TOP/s int8; loaded in {:.3f} s; peak RSS "
                    "{:.2f} GB, {:.2f} "
                    "GB of it for the "
                    "calibration\n",
                    last.rates.read_bytes_s / 1e9, last.rates.fp32_flop_s / 1e12, last.rates.bf16_flop_s / 1e12,
                    last.rates.int8_op_s / 1e12, report.load_s, static_cast<double>(report.peak_rss_bytes) / 1e9,
                    static_cast<double>(report.calibration_bytes) / 1e9);
}

std::string breakdown_table(const BenchReport& report, TableStyle style) {
  std::string text;
  for (const BenchRow& row : report.rows) {
    if (row.breakdown.empty()) continue;
    std::vector<Cells> rows = {{row.test.name(), "calls", "ms", "share"}};
    for (const auto& [name, time] : sorted_breakdown(row)) {
      rows.push_back({name, fmt::format("{}", time.calls), fmt::format("{:.3f}", 1e3 * time.seconds),
                      fmt::format("{:.1f} %", 100.0 * time.seconds / row.breakdown_wall_s)});
    }
    text.append("\n").append(table(rows, style));
  }
  return text;
}

Tree to_tree(const BenchReport& report) {
  Tree model;
  model.set("name", Tree(report.model));
  model.set("layers", Tree(report.layers));
  model.set("dtype", Tree(report.dtype));
  model.set("file_bytes", Tree(report.file_bytes));
  const auto decode = std::find_if(report.rows.begin(), report.rows.end(), [](const BenchRow& row) { return !row.test.is_prefill; });
  model.set("bytes_per_token", decode == report.rows.end() ? Tree() : Tree(decode->bytes_per_token()));
  Tree::Array rows;
  for (const BenchRow& row : report.rows) rows.push_back(row_tree(row));
  Tree tree;
  tree.set("machine", machine_tree(report));
  tree.set("model", std::move(model));
  tree.set("load_s", Tree(report.load_s));
  tree.set("peak_rss_bytes", Tree(report.peak_rss_bytes));
  tree.set("calibration_bytes", Tree(report.calibration_bytes));
  tree.set("rows", Tree(std::move(rows)));
  return tree;
}

}  // namespace meshseek::cli
