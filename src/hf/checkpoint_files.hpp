/// Which files of a checkpoint folder hold which tensors.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/mapped_file.hpp"
#include "hf/safetensors.hpp"

namespace meshseek {

/// The opened weight files of a folder.
struct CheckpointFiles {
  std::vector<Path> files = {};  ///< sorted by name
  std::map<std::string, HfTensor, std::less<>> tensors = {};
};

/// Opens the shards that `model.safetensors.index.json` names, or `model.safetensors` when there is no index. Tensors of a shard
/// that the index does not assign to it are left out.
/// \throws Error with advice; see StateDict.
CheckpointFiles open_checkpoint(const Path& folder);

}  // namespace meshseek
