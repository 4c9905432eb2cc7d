#include "cli/flag_values.hpp"

#include <fmt/format.h>

#include <charconv>

#include "base/error.hpp"
#include "base/file.hpp"

namespace meshseek::cli {

std::optional<DataType> dtype_value(const std::string& text) {
  if (text.empty()) return std::nullopt;
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b, DataType::bfloat16, DataType::float32}) {
    if (text == to_string(dtype)) return dtype;
  }
  throw UsageError(fmt::format("[--dtype] \"{}\"; expected bfloat8_b, bfloat4_b, bfloat16 or float32", text));
}

MeshShape mesh_value(const std::string& text) {
  if (text.empty()) return {};
  try {
    return parse_mesh_shape(text);
  } catch (const Error& error) {
    throw UsageError(fmt::format("[--mesh] {}", error.what()));
  }
}

ParallelPlan plan_value(const std::string& text) { return text == "pipeline" ? ParallelPlan::pipeline : ParallelPlan::users; }

std::optional<Bind> bind_value(const std::string& text) {
  for (const auto& [bind, name] : enum_names(Bind{})) {
    if (text == name) return bind;
  }
  return std::nullopt;
}

std::vector<std::int64_t> ids_value(std::string_view text, const std::string& flag) {
  constexpr std::string_view kSeparators = ", \t\r\n[]";
  std::vector<std::int64_t> ids;
  while (true) {
    const std::size_t begin = text.find_first_not_of(kSeparators);
    if (begin == std::string_view::npos) return ids;
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(kSeparators));
    std::int64_t id = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size() || id < 0) {
      throw UsageError(
          fmt::format("[{}] \"{}\" is no token id; expected whole numbers from 0, separated by commas", flag, word.substr(0, 40)));
    }
    ids.push_back(id);
    text.remove_prefix(word.size());
  }
}

Tree read_json_file(const std::string& path) { return parse_json(read_text_file(path), path); }

std::vector<Overlay> read_overlays(const ConfigFlags& flags) {
  std::vector<Overlay> overlays;
  for (const std::string& path : flags.overlays) overlays.push_back({.tree = read_json_file(path), .name = "overlay " + path});
  return overlays;
}

}  // namespace meshseek::cli
