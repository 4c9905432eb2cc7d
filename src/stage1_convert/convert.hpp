/// Stage 1: a Hugging Face checkpoint becomes a store: tensor files, weight_config.json, config.json, the tokenizer and manifest.json.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/mapped_file.hpp"
#include "config/tree.hpp"
#include "hf/hf_config.hpp"
#include "hf/tensor_source.hpp"
#include "mesh/mesh_shape.hpp"
#include "modules/weight_output/weight_writer.hpp"
#include "tensor/dtype.hpp"

namespace meshseek {

inline constexpr std::int64_t kConverterVersion =
    3;  ///< raised whenever a store looks different; kTransformVersion tells when tensor files do

struct ConvertProgress {
  std::int64_t files_done = 0;
  std::int64_t num_files = 0;  ///< to be written
  std::int64_t bytes_done = 0;
  std::int64_t num_bytes = 0;  ///< to be written
  double seconds = 0.0;
};

struct ConvertOptions {
  MeshShape mesh = {};
  bool deterministic = false;            ///< for runs whose results have the same bits on every mesh: weights are cut along their outputs
  LocalRanks local = {};                 ///< whose pieces are stored
  DataType dtype = DataType::bfloat8_b;  ///< bfloat8_b, bfloat4_b, bfloat16 or float32
  /// {"format_version": 1, "model": {..}}: a string at any place sets the dtype of the projections below it; layer lists may use range patterns. Null: none.
  Tree dtype_policy = {};
  Trust trust = Trust::size_mtime;
  std::int64_t memory_limit = 0;  ///< bytes for the buffers; 0: the smaller of 2 GiB and a quarter of the memory
  std::size_t num_threads = 0;    ///< 0: one per usable core
  bool force = false;             ///< everything is built again
  bool dry_run = false;           ///< only says what would be done
  bool measures_error = false;    ///< fills ConvertedFile::error
  std::function<void(const ConvertProgress&)> on_progress = {};

  /// Whether the cut differs from that of a store which is not deterministic.
  bool joins_outputs() const { return deterministic && mesh.cols > 1; }
};

/// One tensor file of the result.
struct ConvertedFile {
  std::string path = {};
  std::string why = {};  ///< why it was built; empty: it was there
  std::string dtype = {};
  std::vector<std::int64_t> shape = {};
  std::int64_t bytes = 0;
  EncodingError error = {};  ///< when it was asked for: by encoding the source once more
};

struct ConvertReport {
  std::vector<ConvertedFile> files = {};
  std::int64_t bytes = 0;          ///< of all tensor files
  std::int64_t bytes_written = 0;  ///< of those that were built
  std::int64_t num_up_to_date = 0;
  double seconds = 0.0;
  bool up_to_date() const { return num_up_to_date == static_cast<std::int64_t>(files.size()); }
};

/// Converts `checkpoint` into the folder `store` (made when missing). Files that are what they would become are left alone; the others are staged and take
/// their places together at the end, manifest last: see StagedStore. A second process waits for the first (lock file). Memory: options.memory_limit.
/// \throws Error: bad checkpoint, `store` holds files that are no store, disk full, ... The store is then what it was before.
ConvertReport convert_checkpoint(const Path& checkpoint, const Path& store, const ConvertOptions& options);

/// Converts a finished store into one for another mesh, without the checkpoint. The element types stay: options.dtype and dtype_policy are not looked at.
/// \throws Error: as convert_checkpoint(); a store of some ranks only, or without a manifest
ConvertReport reshard_store(const Path& source, const Path& store, const ConvertOptions& options);

/// SHA-256 (hex) of what determines the store's content: config.json, weight and tokenizer files (name, size, mtime), mesh and cut, dtypes, converter version.
std::string conversion_digest(const Path& checkpoint, const ConvertOptions& options);

}  // namespace meshseek
