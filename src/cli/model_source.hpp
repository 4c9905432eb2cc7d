/// Where the weights come from: a store, or a checkpoint that is converted into the cache first.
#pragma once
#include <cstddef>

#include "base/mapped_file.hpp"
#include "cli/flag_values.hpp"
#include "hf/hf_config.hpp"
#include "stage1_convert/convert.hpp"

namespace meshseek::cli {

/// MODEL|STORE of the command line. Both kinds of folder hold config.json and the tokenizer.
class ModelSource {
 public:
  /// Reads config.json, and the head of a store. \throws Error: no such folder, bad config.json, unfinished or foreign store, conversion flags that contradict
  /// the store; no installed model when `flags.model` is empty.
  explicit ModelSource(const SourceFlags& flags, std::size_t num_threads = 0);

  const Path& folder() const { return folder_; }
  const HfConfig& hf_config() const { return hf_; }
  bool is_store() const { return is_store_; }
  /// Standard dtype of the projections in the store that there is or will be.
  DataType dtype() const { return options_.dtype; }
  /// The devices, and what the rows share out: the store is for weight_mesh() of them.
  const MeshShape& mesh() const { return mesh_; }
  ParallelPlan plan() const { return plan_; }
  /// Asked for by the flag, or by a store that was cut for it.
  bool deterministic() const { return options_.deterministic; }

  /// The store; a checkpoint is converted into $MESHSEEK_CACHE unless that was done before. \throws Error, Interrupted.
  Path prepare_store() const;

 private:
  void check_store_flags(const SourceFlags& flags);

  Path folder_;
  HfConfig hf_;
  bool is_store_ = false;
  MeshShape mesh_ = {};
  ParallelPlan plan_ = ParallelPlan::users;
  ConvertOptions options_;
};

/// Where converted and generated models are kept: $MESHSEEK_CACHE, or ~/.cache/meshseek. \throws Error when there is neither.
Path cache_folder();

/// ConvertOptions of the conversion flags: for the devices that share the weights, see weight_mesh().
ConvertOptions conversion_options(const SourceFlags& flags, std::size_t num_threads);

}  // namespace meshseek::cli
