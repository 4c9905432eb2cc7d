/// Loads the tensor files that a weight config names, once each.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.hpp"
#include "base/thread_team.hpp"
#include "config/config_path.hpp"
#include "config/tree.hpp"
#include "mesh/mesh_shape.hpp"
#include "tensor/tensor_file.hpp"

namespace meshseek {

/// How far open_all() is.
struct LoadProgress {
  std::int64_t files_done = 0;
  std::int64_t num_files = 0;
};

/// Maps each file once, so that prefill and decode configs, and layers that share a file, share one copy. Tensors keep their files mapped: they may outlive
/// the loader. One thread at a time.
class WeightLoader {
 public:
  /// \param prefault read all of each file from the disk when it is mapped, instead of on first use
  /// \param rank of the device whose pieces are loaded
  WeightLoader(Path store, MeshShape mesh, bool prefault = false, std::int64_t rank = 0)
      : store_(std::move(store)), mesh_(mesh), prefault_(prefault), rank_(rank) {}

  /// Maps the files of all entries (objects with path, shape, dtype, .., or plain paths) of a weight tree that are not mapped yet. Files that are missing or
  /// damaged are left for load() to report with their place.
  /// \param on_progress called after each file, by one thread at a time; may be empty
  void open_all(const Tree& weights, ThreadTeam& team, const std::function<void(const LoadProgress&)>& on_progress = {});

  /// This device's piece of one entry. `where` is its dotted path.
  /// \throws ConfigError naming `where`: path that leaves the store, missing file, entry and file differ in shape, dtype, layout or mesh, piece of another shape
  /// than `expected`, no piece for this device.
  Tensor load(const Tree& entry, const std::vector<std::int64_t>& expected, const ConfigPath& where);

  std::int64_t num_files() const { return static_cast<std::int64_t>(files_.size()); }
  std::int64_t bytes() const { return bytes_; }

 private:
  const TensorFile& open(const std::string& relative, const ConfigPath& where);
  std::size_t shard_of_device(const TensorFile& file, const ConfigPath& where) const;
  const TensorFile& keep(const std::string& relative, TensorFile file);

  Path store_;
  MeshShape mesh_;
  bool prefault_ = false;
  std::int64_t rank_ = 0;
  std::unordered_map<std::string, TensorFile> files_;
  std::int64_t bytes_ = 0;
};

}  // namespace meshseek
