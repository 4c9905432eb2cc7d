/// All tensors of a checkpoint folder by name, dequantised on demand.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "hf/hf_config.hpp"
#include "hf/safetensors.hpp"

namespace meshseek {

/// Weights of a Hugging Face checkpoint: one `model.safetensors`, or shards with `model.safetensors.index.json`.
/// Files are mapped lazily; opening a 4 GB sparse checkpoint costs < 50 MB. Thread-safe for reading.
class StateDict {
 public:
  /// \throws Error: empty folder (advice), `.bin`/`.pt` only (advice to convert to safetensors), index that names a missing shard, a name
  /// with path parts, a tensor that the named shard lacks, truncated shard.
  StateDict(const Path& folder, const HfConfig& config);

  bool contains(std::string_view name) const;
  /// Stored form. \throws Error naming the tensor when it is absent.
  const HfTensor& raw(std::string_view name) const;
  /// Shape of a tensor. \throws Error when absent.
  const Shape& shape(std::string_view name) const { return raw(name).shape; }
  /// Dense float32 values, row-major. F8_E4M3 weights are multiplied by their `<name>_scale_inv` blocks
  /// (config.weight_block_size, partial edge blocks, scales F32/BF16/F8_E8M0 in any shard); the product is exact in
  /// double and rounded once to float32. F64 is rounded to float32.
  /// \throws ShapeError when the expected shape differs (both shapes named).
  /// \throws Error: absent, integer dtype, FP8 without scale, scale of the wrong shape or not finite, NaN code, product beyond float32,
  /// a scale beside a weight that is not FP8.
  std::vector<float> load(std::string_view name, const Shape& expected) const;
  std::vector<std::string> names() const;
  const Path& folder() const { return folder_; }
  /// The checkpoint's weight files, sorted by name.
  const std::vector<Path>& files() const { return files_; }

 private:
  Path folder_;
  std::vector<Path> files_;
  std::vector<std::int64_t> weight_block_size_;
  std::map<std::string, HfTensor, std::less<>> tensors_;
};

}  // namespace meshseek
