#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.hpp"
#include "config/serialise.hpp"
#include "stage3_run/replay.hpp"

namespace meshseek {
namespace {

std::string shown(const Tree* tree) { return tree == nullptr ? "unset" : to_json_line(*tree); }

/// One line per leaf in which two trees differ; a member that one of them lacks counts.
void append_differences(const Tree* a, const Tree* b, const std::string& where, std::vector<std::string>& lines) {
  if ((a == nullptr) == (b == nullptr) && (a == nullptr || *a == *b)) return;
  if (a == nullptr || b == nullptr || !a->is_object() || !b->is_object()) {
    lines.push_back(fmt::format("{}: {} against {}", where, shown(a), shown(b)));
    return;
  }
  for (const auto& [name, value] : a->as_object(where)) append_differences(&value, b->find(name), where + "." + name, lines);
  for (const auto& [name, value] : b->as_object(where)) {
    if (a->find(name) == nullptr) append_differences(nullptr, &value, where + "." + name, lines);
  }
}

std::vector<std::string> config_differences(const CapturedCall& a, const CapturedCall& b) {
  std::vector<std::string> lines;
  const std::string where = a.path.value_or(a.op) + (a.mode ? fmt::format(" ({})", *a.mode) : "");
  append_differences(&a.config, &b.config, where, lines);
  const Tree weights_a = to_tree(a.weights);
  const Tree weights_b = to_tree(b.weights);
  append_differences(&weights_a, &weights_b, where + " weights", lines);
  return lines;
}

/// The first value that differs by name, shape, type or checksum; empty when none does.
std::string first_difference(const std::vector<CapturedTensor>& a, const std::vector<CapturedTensor>& b) {
  for (std::size_t idx = 0; idx < std::min(a.size(), b.size()); ++idx) {
    const CapturedTensor& left = a[idx];
    const CapturedTensor& right = b[idx];
    if (left == right) continue;
    if (left.name != right.name) return fmt::format("{} against {}", left.name, right.name);
    if (left.shape != right.shape || left.dtype != right.dtype) {
      return fmt::format("{} is {} {} against {} {}", left.name, to_string(left.dtype), to_string(left.shape), to_string(right.dtype),
                         to_string(right.shape));
    }
    return fmt::format("{} {} {} has checksum {} against {}", left.name, to_string(left.dtype), to_string(left.shape), left.checksum,
                       right.checksum);
  }
  return a.size() == b.size() ? "" : fmt::format("{} values against {}", a.size(), b.size());
}

/// "; max abs difference ..." of the first output with another checksum; empty when its values cannot be compared or read.
std::string numbers_of(const CaptureFile& a, const CaptureFile& b, std::size_t call_idx) {
  const auto& left = a.calls()[call_idx].outputs;
  const auto& right = b.calls()[call_idx].outputs;
  Device device(1);
  for (std::size_t idx = 0; idx < std::min(left.size(), right.size()); ++idx) {
    if (left[idx] == right[idx]) continue;
    if (left[idx].shape != right[idx].shape) return "";
    try {
      return "; " + to_string(value_difference(b.load(right[idx], device), a.load(left[idx], device)));
    } catch (const Error&) {
      return "";  // checksums are enough to compare: the data folder may be gone
    }
  }
  return "";
}

/// One line about what differs between two calls; empty when nothing but the config does.
std::string call_difference(const CapturedCall& a, const CapturedCall& b, bool configs_differ) {
  if (a.op != b.op || a.path != b.path || a.mode != b.mode)
    return fmt::format("{} against {}: other operators ran", to_string(a), to_string(b));
  if (!(a.arguments == b.arguments))
    return fmt::format("{}: arguments {} against {}", to_string(a), shown(&a.arguments), shown(&b.arguments));
  if (const std::string text = first_difference(a.inputs, b.inputs); !text.empty()) return fmt::format("{}: input {}", to_string(a), text);
  if (const std::string text = first_difference(a.outputs, b.outputs); !text.empty()) {
    return fmt::format("{}: inputs are equal, {}; output {}", to_string(a), configs_differ ? "configs differ" : "so is the config", text);
  }
  return "";
}

std::vector<std::string> header_differences(const CaptureFile& a, const CaptureFile& b) {
  std::vector<std::string> lines;
  const Tree header_a = to_tree(a.header());
  const Tree header_b = to_tree(b.header());
  append_differences(&header_a, &header_b, "header", lines);
  return lines;
}

}  // namespace

CaptureComparison compare_captures(const CaptureFile& a, const CaptureFile& b) {
  CaptureComparison comparison = {.config_differences = header_differences(a, b)};
  std::set<std::string> known;  // a config is the same in each of its calls
  const std::size_t num_calls = std::min(a.calls().size(), b.calls().size());
  for (std::size_t idx = 0; idx < num_calls && !comparison.first_difference; ++idx) {
    const CapturedCall& left = a.calls()[idx];
    const CapturedCall& right = b.calls()[idx];
    const bool same_place = left.op == right.op && left.path == right.path && left.mode == right.mode;
    const std::vector<std::string> configs = same_place ? config_differences(left, right) : std::vector<std::string>{};
    for (const std::string& line : configs) {
      if (known.insert(line).second) comparison.config_differences.push_back(line);
    }
    const std::string text = call_difference(left, right, !configs.empty());
    if (!text.empty()) comparison.first_difference = text + (left.inputs == right.inputs ? numbers_of(a, b, idx) : "");
    ++comparison.num_calls;
  }
  if (!comparison.first_difference && a.calls().size() != b.calls().size()) {
    comparison.first_difference = fmt::format("{} calls against {}; the first {} are equal", a.calls().size(), b.calls().size(), num_calls);
  }
  return comparison;
}

}  // namespace meshseek
