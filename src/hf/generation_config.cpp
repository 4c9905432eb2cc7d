#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "base/file.hpp"
#include "hf/config_reader.hpp"
#include "hf/hf_config.hpp"

namespace meshseek {

GenerationConfig read_generation_config(const Path& folder) {
  const Path path = folder / "generation_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return {};
  const Tree tree = parse_config_text(read_text_file(path, kMaxConfigBytes), path.string());
  const ConfigReader config(tree, path.string());
  GenerationConfig out;
  if (config.find("temperature") != nullptr) out.temperature = config.not_negative_or("temperature", 0.0);
  if (config.find("top_p") != nullptr) out.top_p = config.positive("top_p");
  if (out.top_p && *out.top_p > 1.0) config.fail("top_p", fmt::format("is {}; expected at most 1", *out.top_p));
  // 0 and -1 are two ways to say "no limit".
  const std::int64_t top_k = config.integer_or("top_k", {-1, kCount.max}, 0);
  if (top_k > 0) out.top_k = top_k;
  out.eos_token_ids = config.integers("eos_token_id", kCount);
  return out;
}

}  // namespace meshseek
