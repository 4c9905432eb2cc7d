/// The way back: a store becomes a Hugging Face checkpoint of bfloat16 safetensors.
#pragma once
#include <cstdint>

#include "base/mapped_file.hpp"

namespace meshseek {

struct ExportReport {
  std::int64_t num_tensors = 0;
  std::int64_t bytes = 0;
  double seconds = 0.0;
};

/// Writes config.json (without quantization_config), the tokenizer and one `model.safetensors`, or shards of at most 4 GB with an index, into `folder`, which
/// must be new or empty; config.json last. Values are the stored ones, rounded to bfloat16; the correction bias stays float32. Any mesh.
/// Memory: a few MB. \throws Error: not a finished store, a folder with other files, disk full
ExportReport export_hf(const Path& store, const Path& folder);

}  // namespace meshseek
