#include "stage3_run/run_facts.hpp"

#include <filesystem>
#include <string>
#include <string_view>

#include "base/file.hpp"
#include "base/sha256.hpp"
#include "config/tree.hpp"

namespace meshseek {
namespace {

constexpr std::size_t kDigits = 16;  // of a digest: enough to tell two files apart

std::string digest(std::string_view text) { return sha256_hex(text).substr(0, kDigits); }

/// The sum of the file, when it holds the pieces of all ranks; else of what it was made of, the same for all ranks.
std::string content_of(const Tree& entry, const Tree& description, const std::string& where) {
  const Tree* ranks = description.find("ranks");
  if (ranks == nullptr || *ranks == Tree("all")) return entry.find("sha256")->as_string(where + " sha256").substr(0, kDigits);
  Tree same;
  for (const char* key : {"shape", "shard_shape", "dtype", "layout", "mesh", "placement", "transform", "sources_sha256"}) {
    if (const Tree* value = description.find(key)) same.set(key, *value);
  }
  return digest(to_json_line(same));
}

/// Tensor files, by their paths. None where the store has no manifest.
void add_files(const Path& store, std::vector<Fact>& facts) {
  const Path path = store / "manifest.json";
  if (!std::filesystem::exists(path)) return;
  const Tree manifest = parse_json(read_text_file(path), path.string());
  const Tree* files = manifest.find("files");
  if (files == nullptr) return;
  for (const auto& [name, entry] : files->as_object(path.string() + " files")) {
    const Tree* description = entry.find("description");
    if (description == nullptr || description->is_null() || entry.find("sha256") == nullptr) continue;
    facts.push_back({"store file " + name, content_of(entry, *description, path.string() + " " + name)});
  }
}

/// As the config has it; empty where it does not say.
std::string device_of(const Tree& config) {
  const Tree* device = config.find("device");
  return device == nullptr ? "" : to_json_line(*device);
}

}  // namespace

std::vector<Fact> facts_of_run(const RunPlan& plan) {
  std::vector<Fact> facts = {{"prefill config for the device", device_of(plan.prefill_config)},
                             {"decode config for the device", device_of(plan.decode_config)},
                             {"prefill config", digest(to_json_line(plan.prefill_config))},
                             {"decode config", digest(to_json_line(plan.decode_config))},
                             {"config.json", digest(read_text_file(plan.store / "config.json"))},
                             {"weight config", digest(to_json_line(plan.info.weight_config))}};
  add_files(plan.store, facts);
  return facts;
}

}  // namespace meshseek
