#include "stage3_run/weight_loader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/error.hpp"
#include "config/serialise.hpp"

namespace meshseek {
namespace {

/// The path that an entry names; null pointer when it is no entry.
const std::string* path_of(const Tree& entry) {
  const Tree* path = entry.is_string() ? &entry : entry.find("path");
  return path == nullptr || !path->is_string() ? nullptr : &path->as_string("");
}

template <class Visit>
void for_each_entry_path(const Tree& node, const Visit& visit) {
  if (const std::string* path = path_of(node)) return visit(*path);
  if (!node.is_object()) return;
  for (const auto& member : node.as_object("")) for_each_entry_path(member.second, visit);
}

/// Paths come from a file: they must stay inside the store.
bool stays_inside(const std::string& path) {
  const Path relative(path);
  bool leaves = relative.empty() || relative.is_absolute();
  for (const Path& part : relative) leaves = leaves || part == "..";
  return !leaves;
}

[[noreturn]] void throw_no_entry(const Tree& entry, const ConfigPath& where) {
  const Tree* path = entry.find("path");
  if (path != nullptr) path->as_string(where.to_string() + ".path");  // throws
  throw ConfigError(fmt::format("[{}] expected a path or an object with \"path\", got {}", where.to_string(), entry.type_name()));
}

void check_text(const Tree& object, const char* key, std::string_view actual, const ConfigPath& where) {
  const Tree* claimed = object.find(key);
  if (claimed == nullptr || (claimed->is_string() && claimed->as_string("") == actual)) return;
  const std::string& text = claimed->as_string(where.to_string() + "." + key);
  throw ConfigError(
      fmt::format("[{}] the weight config says {} {} but the file has {}; convert the store again", where.to_string(), key, text, actual));
}

void check_shape(const Tree& claimed, const Shape& actual, const ConfigPath& where) {
  Shape shape;
  const std::string path = claimed.is_array() ? "" : where.to_string() + ".shape";
  for (const Tree& dim : claimed.as_array(path))
    shape.push_back(dim.is_integer() ? dim.as_integer("") : dim.as_integer(where.to_string() + ".shape"));
  if (shape == actual) return;
  throw ConfigError(fmt::format("[{}] the weight config says shape {} but the file has {}; convert the store again", where.to_string(),
                                to_string(shape), to_string(actual)));
}

void check_size(const Tree& claimed, const TensorFile& file, const ConfigPath& where) {
  const std::int64_t bytes = claimed.as_integer(claimed.is_integer() ? "" : where.to_string() + ".bytes");
  if (bytes == static_cast<std::int64_t>(file.file_bytes())) return;
  throw ConfigError(fmt::format("[{}] the weight config says {} bytes but {} has {}; run `meshseek verify`, or convert the store again",
                                where.to_string(), bytes, file.path().string(), file.file_bytes()));
}

/// An entry that is an object claims things about its file. A plain path claims nothing.
void check_claim(const Tree& entry, const TensorFile& file, const MeshShape& mesh, const ConfigPath& where) {
  static constexpr std::array<std::string_view, 8> kKeys = {"path", "shape",     "dtype",       "layout",
                                                            "mesh", "placement", "shard_shape", "bytes"};
  for (const auto& member : entry.as_object("")) {
    if (std::find(kKeys.begin(), kKeys.end(), member.first) == kKeys.end())
      serialise::check_keys(entry, where.to_string(), {}, false, kKeys);
  }
  check_text(entry, "dtype", to_string(file.header().dtype), where);
  check_text(entry, "layout", to_string(file.header().layout), where);
  check_text(entry, "mesh", to_string(mesh), where);
  // Of a tensor that was cut the file knows the pieces only.
  const Tree* shape = entry.find("shard_shape") != nullptr ? entry.find("shard_shape") : entry.find("shape");
  if (shape != nullptr) check_shape(*shape, file.header().shape, where);
  if (const Tree* bytes = entry.find("bytes")) check_size(*bytes, file, where);
}

}  // namespace

const TensorFile& WeightLoader::keep(const std::string& relative, TensorFile file) {
  bytes_ += static_cast<std::int64_t>(file.file_bytes());
  return files_.emplace(relative, std::move(file)).first->second;
}

const TensorFile& WeightLoader::open(const std::string& relative, const ConfigPath& where) {
  if (const auto found = files_.find(relative); found != files_.end()) return found->second;
  if (!stays_inside(relative)) {
    throw ConfigError(fmt::format("[{}] path \"{}\" leaves the store; expected a path relative to the store", where.to_string(), relative));
  }
  try {
    return keep(relative, TensorFile(store_ / relative));
  } catch (const Error& error) {
    throw ConfigError(fmt::format("[{}] cannot load the weight: {}", where.to_string(), error.what()));
  }
}

void WeightLoader::open_all(const Tree& weights, ThreadTeam& team, const std::function<void(const LoadProgress&)>& on_progress) {
  struct Job {
    const std::string* relative = nullptr;
    std::optional<TensorFile> file = {};
  };
  std::vector<Job> jobs;
  std::unordered_set<std::string_view> seen;
  for_each_entry_path(weights, [&](const std::string& path) {
    if (!files_.contains(path) && seen.insert(path).second && stays_inside(path)) jobs.push_back({&path, {}});
  });
  std::mutex mutex;
  LoadProgress progress = {.files_done = 0, .num_files = static_cast<std::int64_t>(jobs.size())};
  team.parallel_for(jobs.size(), 16, [&](std::size_t begin, std::size_t end) {
    for (Job& job : std::span(jobs).subspan(begin, end - begin)) {
      try {
        job.file.emplace(store_ / *job.relative);
        if (prefault_) job.file->prefault();
      } catch (const Error&) {
        // load() opens it again and knows the place to name.
      }
      if (!on_progress) continue;
      const std::lock_guard lock(mutex);
      ++progress.files_done;
      on_progress(progress);
    }
  });
  for (Job& job : jobs) {
    if (job.file) keep(*job.relative, *std::move(job.file));
  }
}

Tensor WeightLoader::load(const Tree& entry, const std::vector<std::int64_t>& expected, const ConfigPath& where) {
  const std::string* path = path_of(entry);
  if (path == nullptr) throw_no_entry(entry, where);
  const TensorFile& file = open(*path, where);
  if (entry.is_object()) check_claim(entry, file, mesh_, where);
  const std::size_t shard_idx = shard_of_device(file, where);
  if (file.header().shape != expected) {
    throw ConfigError(
        fmt::format("[{}] the weight has shape {} but the model config expects {}; do store and config belong to the same model?",
                    where.to_string(), to_string(file.header().shape), to_string(expected)));
  }
  return file.shard(shard_idx);
}

/// A store may hold the pieces of some of the mesh's devices only.
std::size_t WeightLoader::shard_of_device(const TensorFile& file, const ConfigPath& where) const {
  const std::vector<TensorShard>& shards = file.header().shards;
  if (mesh_.num_devices() == 1 && shards.size() == 1) return 0;
  const std::vector<std::uint32_t> coordinate = {static_cast<std::uint32_t>(rank_ / mesh_.cols),
                                                 static_cast<std::uint32_t>(rank_ % mesh_.cols)};
  const auto found =
      std::find_if(shards.begin(), shards.end(), [&](const TensorShard& shard) { return shard.mesh_coordinate == coordinate; });
  const std::vector<std::uint32_t> shape = {static_cast<std::uint32_t>(mesh_.rows), static_cast<std::uint32_t>(mesh_.cols)};
  if (found != shards.end() && file.header().mesh_shape == shape) return static_cast<std::size_t>(found - shards.begin());
  throw ConfigError(fmt::format("[{}] the file has {} shards but none for device {} of mesh {}; convert the store for this mesh",
                                where.to_string(), shards.size(), rank_, to_string(mesh_)));
}

}  // namespace meshseek
