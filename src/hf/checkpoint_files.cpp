#include "hf/checkpoint_files.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/error.hpp"
#include "base/file.hpp"
#include "config/tree.hpp"
#include "hf/quote_name.hpp"

namespace meshseek {
namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr std::size_t kMaxIndexBytes = 100'000'000;

bool is_present(const Path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

/// Explains what is wrong with a folder that has neither an index nor a single file.
[[noreturn]] void refuse_folder(const Path& folder) {
  std::error_code failed;
  std::vector<std::string> pickles;
  std::vector<std::string> shards;
  for (const auto& entry : std::filesystem::directory_iterator(folder, failed)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".bin" || extension == ".pt" || extension == ".pth") pickles.push_back(entry.path().filename().string());
    if (extension == ".safetensors") shards.push_back(entry.path().filename().string());
  }
  const std::string where = folder.string();
  if (failed)
    throw Error(fmt::format("[{}] cannot read the checkpoint folder: {}; give a folder with model.safetensors", where, failed.message()));
  if (!shards.empty()) {
    throw Error(fmt::format("[{}] has {} but neither {} nor {}; download the missing file", where,
                            quote_name(*std::min_element(shards.begin(), shards.end())), kSingleFile, kIndexFile));
  }
  if (!pickles.empty()) {
    throw Error(
        fmt::format("[{}] has only pickled weights ({}), which can run code when read; expected safetensors; convert them with "
                    "transformers' save_pretrained(safe_serialization=True)",
                    where, quote_name(*std::min_element(pickles.begin(), pickles.end()))));
  }
  throw Error(
      fmt::format("[{}] has no weights; expected {} or {}; download the checkpoint into this folder", where, kSingleFile, kIndexFile));
}

/// A plain file name: nothing that leads out of the folder.
void check_shard_name(const std::string& name, const std::string& where) {
  if (name.find_first_of(std::string("/\\\0", 3)) != std::string::npos || name == "." || name == ".." || name.empty()) {
    throw Error(
        fmt::format("[{}] names the shard {}; expected a file name without path parts; download the index again", where, quote_name(name)));
  }
  if (!name.ends_with(".safetensors")) {
    throw Error(fmt::format("[{}] names the shard {}; expected a .safetensors file; convert the checkpoint to safetensors", where,
                            quote_name(name)));
  }
}

/// Shard names with the tensors that each must have.
std::map<std::string, std::vector<std::string>> read_index(const Path& path) {
  const std::string where = path.string();
  Tree index;
  try {
    index = parse_json(read_text_file(path, kMaxIndexBytes), kIndexFile);
  } catch (const ConfigError& error) {
    throw Error(fmt::format("[{}] is not valid JSON: {}; download it again", where, error.what()));
  }
  const Tree* const weight_map = index.find("weight_map");
  if (weight_map == nullptr) throw Error(fmt::format("[{}] has no weight_map; expected an object of tensor names to shards", where));
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, shard] : weight_map->as_object(where + ": weight_map")) {
    const std::string& name = shard.as_string(fmt::format("{}: weight_map: {}", where, quote_name(tensor)));
    check_shard_name(name, where);
    shards[name].push_back(tensor);
  }
  if (shards.empty()) throw Error(fmt::format("[{}] has an empty weight_map; expected tensor names with their shards", where));
  return shards;
}

CheckpointFiles open_shards(const Path& folder) {
  CheckpointFiles result;
  for (const auto& [shard, names] : read_index(folder / kIndexFile)) {
    const Path path = folder / shard;
    if (!is_present(path)) {
      throw Error(fmt::format("[{}] the index names the shard {}, which is missing; download it", (folder / kIndexFile).string(),
                              quote_name(shard)));
    }
    auto tensors = read_safetensors(path);
    for (const std::string& name : names) {
      auto found = tensors.extract(name);
      if (found.empty()) {
        throw Error(fmt::format("[{}] lacks the tensor {}, which {} assigns to it; download both again", path.string(), quote_name(name),
                                kIndexFile));
      }
      result.tensors.insert(std::move(found));
    }
    result.files.push_back(path);
  }
  return result;
}

}  // namespace

CheckpointFiles open_checkpoint(const Path& folder) {
  if (is_present(folder / kIndexFile)) return open_shards(folder);
  if (!is_present(folder / kSingleFile)) refuse_folder(folder);
  CheckpointFiles result;
  result.files.push_back(folder / kSingleFile);
  for (auto& [name, tensor] : read_safetensors(result.files.front())) result.tensors.emplace(name, std::move(tensor));
  return result;
}

}  // namespace meshseek
