#include "stage3_run/weight_loader.hpp"

#include <fmt/format.h>

#include <array>
#include <exception>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/error.hpp"
#include "config/serialise.hpp"

namespace meshseek {
namespace {

/// What a weight config entry claims about its file. A plain path claims nothing.
struct Claim {
  std::string path;
  const Tree* object = nullptr;
};

Claim read_claim(const Tree& entry, const std::string& where) {
  if (entry.is_string()) return {entry.as_string(where), nullptr};
  const Tree* path = entry.find("path");
  if (path == nullptr) throw ConfigError(fmt::format("[{}] expected a path or an object with \"path\", got {}", where, entry.type_name()));
  static constexpr std::array<std::string_view, 6> kKeys = {"path", "shape", "dtype", "layout", "mesh", "placement"};
  serialise::check_keys(entry, where, {}, false, kKeys);
  return {path->as_string(where + ".path"), &entry};
}

/// Paths come from a file: they must stay inside the store.
void check_relative(const std::string& path, const std::string& where) {
  const Path relative(path);
  bool leaves = relative.empty() || relative.is_absolute();
  for (const Path& part : relative) leaves = leaves || part == "..";
  if (leaves) throw ConfigError(fmt::format("[{}] path \"{}\" leaves the store; expected a path relative to the store", where, path));
}

Shape read_shape(const Tree& tree, const std::string& where) {
  Shape shape;
  for (const Tree& dim : tree.as_array(where)) shape.push_back(dim.as_integer(where));
  return shape;
}

void check_text(const Tree& object, const char* key, std::string_view actual, const std::string& where) {
  const Tree* claimed = object.find(key);
  if (claimed == nullptr) return;
  const std::string& text = claimed->as_string(where + "." + key);
  if (text != actual) {
    throw ConfigError(fmt::format("[{}] the weight config says {} {} but the file has {}; convert the store again", where, key, text, actual));
  }
}

void check_claim(const Tree& object, const TensorFile& file, const MeshShape& mesh, const std::string& where) {
  check_text(object, "dtype", to_string(file.header().dtype), where);
  check_text(object, "layout", to_string(file.header().layout), where);
  check_text(object, "mesh", to_string(mesh), where);
  if (const Tree* shape = object.find("shape")) {
    const Shape claimed = read_shape(*shape, where + ".shape");
    if (claimed != file.header().shape) {
      throw ConfigError(fmt::format("[{}] the weight config says shape {} but the file has {}; convert the store again", where, to_string(claimed),
                                    to_string(file.header().shape)));
    }
  }
}

TensorFile open_file(const Path& path, const std::string& where) {
  try {
    return TensorFile(path);
  } catch (const Error& error) {
    throw ConfigError(fmt::format("[{}] cannot load the weight: {}", where, error.what()));
  }
}

}  // namespace

const TensorFile& WeightLoader::keep(const std::string& relative, TensorFile file) {
  bytes_ += static_cast<std::int64_t>(file.file_bytes());
  return files_.emplace(relative, std::move(file)).first->second;
}

const TensorFile& WeightLoader::open(const std::string& relative, const std::string& where) {
  const auto found = files_.find(relative);
  return found != files_.end() ? found->second : keep(relative, open_file(store_ / relative, where));
}

void WeightLoader::open_all(std::span<const Entry> entries, ThreadTeam& team, const std::function<void(const LoadProgress&)>& on_progress) {
  struct Job {
    std::string relative = {};
    const std::string* where = nullptr;
    std::optional<TensorFile> file = {};
    std::exception_ptr error = {};
  };
  std::vector<Job> jobs;
  std::unordered_set<std::string> seen;
  for (const Entry& entry : entries) {
    Claim claim = read_claim(*entry.leaf, entry.where);
    check_relative(claim.path, entry.where);
    if (!files_.contains(claim.path) && seen.insert(claim.path).second) jobs.push_back({std::move(claim.path), &entry.where, {}, {}});
  }
  std::mutex mutex;
  LoadProgress progress = {.files_done = 0, .num_files = static_cast<std::int64_t>(jobs.size())};
  team.parallel_for(jobs.size(), 16, [&](std::size_t begin, std::size_t end) {
    for (Job& job : std::span(jobs).subspan(begin, end - begin)) {
      try {
        job.file.emplace(open_file(store_ / job.relative, *job.where));
      } catch (...) {
        job.error = std::current_exception();
      }
      if (!on_progress) continue;
      const std::lock_guard lock(mutex);
      ++progress.files_done;
      on_progress(progress);
    }
  });
  for (Job& job : jobs) {
    if (job.error) std::rethrow_exception(job.error);
    keep(job.relative, *std::move(job.file));
  }
}

Tensor WeightLoader::load(const Tree& entry, const std::vector<std::int64_t>& expected, const std::string& where) {
  const Claim claim = read_claim(entry, where);
  check_relative(claim.path, where);
  const TensorFile& file = open(claim.path, where);
  if (claim.object != nullptr) check_claim(*claim.object, file, mesh_, where);
  if (file.header().shards.size() != static_cast<std::size_t>(mesh_.num_devices())) {
    throw ConfigError(fmt::format("[{}] the file has {} shards but the mesh is {}; convert the store for this mesh", where,
                                  file.header().shards.size(), to_string(mesh_)));
  }
  if (file.header().shape != expected) {
    throw ConfigError(fmt::format("[{}] the weight has shape {} but the model config expects {}; do store and config belong to the same model?", where,
                                  to_string(file.header().shape), to_string(expected)));
  }
  return file.shard(0);
}

}  // namespace meshseek
