/// All tensors of a checkpoint folder by name, dequantised on demand.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/random_access_file.hpp"
#include "hf/hf_config.hpp"
#include "hf/safetensors.hpp"
#include "hf/tensor_source.hpp"

namespace meshseek {

/// Weights of a Hugging Face checkpoint: one `model.safetensors`, or shards with `model.safetensors.index.json`.
/// Opening a 4 GB sparse checkpoint costs < 50 MB; values are read in parts into the caller's memory. Thread-safe for reading.
class StateDict : public TensorSource {
 public:
  /// \throws Error: empty folder (advice), `.bin`/`.pt` only (advice to convert to safetensors), index that names a missing shard, a name
  /// with path parts, a tensor that the named shard lacks, truncated shard.
  StateDict(const Path& folder, const HfConfig& config);

  bool contains(std::string_view name) const override;
  /// Stored form. \throws Error naming the tensor when it is absent.
  const HfTensor& raw(std::string_view name) const;
  /// Shape of a tensor. \throws Error when absent.
  const Shape& shape(std::string_view name) const { return raw(name).shape; }
  /// \throws ShapeError when the expected shape differs (both shapes named).
  /// \throws Error: absent, integer dtype, FP8 without scale, scale of the wrong shape or dtype, a scale beside a weight that is not FP8.
  void check(std::string_view name, const Shape& expected) const override;
  /// Dense float32 values, row-major. F8_E4M3 weights are multiplied by their `<name>_scale_inv` blocks
  /// (config.weight_block_size, partial edge blocks, scales F32/BF16/F8_E8M0 in any shard); the product is rounded once to float32. F64 is rounded to float32.
  /// The tensor must have passed check(). \throws Error: scale not finite, NaN code, product beyond float32, a file that was shortened meanwhile.
  void read(std::string_view name, const MatrixPart& part, std::span<float> out) const override;
  std::string identity(std::string_view name, Trust trust) const override;
  std::string file_of(std::string_view name) const override;
  /// check(), and all values.
  std::vector<float> load(std::string_view name, const Shape& expected) const;
  std::vector<std::string> names() const;
  const Path& folder() const { return folder_; }
  /// The checkpoint's weight files, sorted by name.
  const std::vector<Path>& files() const { return files_; }

 private:
  /// Whole rows in their stored form.
  std::vector<std::byte> read_stored(const HfTensor& tensor, std::int64_t first_row, std::int64_t num_rows) const;
  std::string stored_identity(std::string_view name, Trust trust) const;
  std::vector<float> load_scales(std::string_view name, const Shape& weight) const;

  Path folder_;
  std::vector<Path> files_;
  std::vector<std::int64_t> weight_block_size_;
  std::map<std::string, HfTensor, std::less<>> tensors_;
  std::map<Path, RandomAccessFile> readers_;     ///< by path
  std::map<Path, std::string> file_identities_;  ///< name, size and time of each file when it was opened
};

}  // namespace meshseek
