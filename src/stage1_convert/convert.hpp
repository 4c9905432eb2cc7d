/// Stage 1: a Hugging Face checkpoint becomes a store: tensor files, weight_config.json, config.json and the tokenizer.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "base/mapped_file.hpp"
#include "config/tree.hpp"
#include "hf/hf_config.hpp"
#include "mesh/mesh_shape.hpp"
#include "tensor/dtype.hpp"

namespace meshseek {

inline constexpr std::int64_t kConverterVersion = 1;  ///< raised whenever the same source gives other bytes

struct ConvertProgress {
  std::int64_t files_done = 0;
  std::int64_t bytes_done = 0;
  std::int64_t source_bytes = 0;  ///< of the whole checkpoint
  double seconds = 0.0;
  std::string file = {};  ///< the one just written
};

struct ConvertOptions {
  MeshShape mesh = {};
  DataType dtype = DataType::bfloat8_b;  ///< bfloat8_b, bfloat4_b, bfloat16 or float32
  /// {"format_version": 1, "model": {..}}: a string at any place sets the dtype of the projections below it; layer lists may use range patterns. Null: none.
  Tree dtype_policy = {};
  std::size_t num_threads = 0;  ///< 0: one per usable core
  bool force = false;           ///< convert even when the store is up to date
  std::function<void(const ConvertProgress&)> on_progress = {};
};

struct ConvertReport {
  std::int64_t num_tensors = 0;
  std::int64_t bytes = 0;  ///< written, or found when up to date
  double seconds = 0.0;
  bool up_to_date = false;  ///< nothing was written
};

/// Converts `checkpoint` into the folder `store` (made when missing). weight_config.json is written last: a killed conversion leaves a store that stage 3
/// refuses and that the next conversion completes. A second process waits for the first (lock file).
/// \throws Error: bad checkpoint, mesh other than 1x1, `store` holds files that are no store, disk full, ...
ConvertReport convert_checkpoint(const Path& checkpoint, const Path& store, const ConvertOptions& options);

/// SHA-256 (hex) of what determines the store's content: config.json, weight and tokenizer files (name, size, mtime), mesh, dtypes, converter version.
std::string conversion_digest(const Path& checkpoint, const ConvertOptions& options);

}  // namespace meshseek
