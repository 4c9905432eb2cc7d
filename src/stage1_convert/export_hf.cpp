#include "stage1_convert/export_hf.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/stopwatch.hpp"
#include "hf/safetensors.hpp"
#include "hf/state_dict_view.hpp"
#include "modules/model/model.hpp"
#include "stage1_convert/dtype_policy.hpp"
#include "stage1_convert/store_source.hpp"

namespace meshseek {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxShardBytes = std::int64_t{4} << 30;
constexpr std::int64_t kMaxRowsBytes = std::int64_t{4} << 20;

/// Rows of a checkpoint tensor and the stored rows that are the same.
struct ExportedRows {
  std::int64_t first_row = 0;
  std::int64_t num_rows = 0;
  std::string stored = {};  ///< path in the store
  std::int64_t stored_row = 0;
};

struct ExportedTensor {
  Shape shape = {};
  HfDtype dtype = HfDtype::BF16;
  std::vector<ExportedRows> rows = {};  ///< sorted
  std::int64_t bytes() const { return volume(shape) * static_cast<std::int64_t>(element_bytes(dtype)); }
};

using ExportedTensors = std::map<std::string, ExportedTensor>;

/// Turns the modules' plan around: which stored rows make each tensor of the checkpoint.
ExportedTensors plan_export(StoreSource& source) {
  ExportedTensors tensors;
  ConversionContext context = {.dtype = source.dtype(), .dtype_policy = read_dtype_policy(source.dtype_policy(), source.hf())};
  context.on_job = [&](WeightJob job) {
    std::int64_t stored_row = 0;
    for (const SourceRows& rows : job.source.rows) {
      ExportedTensor& tensor = tensors[rows.tensor];
      tensor.shape = source.shape_of(rows.tensor);
      if (rows.tensor.ends_with("e_score_correction_bias")) tensor.dtype = HfDtype::F32;
      tensor.rows.push_back({rows.first_row, rows.num_rows, job.path, stored_row});
      stored_row += rows.num_rows;
    }
    source.adopt(job);
  };
  Model::convert_weights(source.hf(), StateDictView(source), WeightOutput(context), context.mesh);
  for (auto& [name, tensor] : tensors) {
    std::stable_sort(tensor.rows.begin(), tensor.rows.end(), [](const auto& a, const auto& b) { return a.first_row < b.first_row; });
    // Tied embeddings are stored twice: the first one, the embedding, is the precise one.
    const auto same = [](const ExportedRows& a, const ExportedRows& b) { return a.first_row == b.first_row; };
    tensor.rows.erase(std::unique(tensor.rows.begin(), tensor.rows.end(), same), tensor.rows.end());
  }
  return tensors;
}

std::vector<std::byte> encode_values(std::span<const float> values, HfDtype dtype) {
  if (dtype == HfDtype::F32) {
    const auto bytes = std::as_bytes(values);
    return {bytes.begin(), bytes.end()};
  }
  std::vector<std::byte> bytes(values.size() * sizeof(bf16));
  for (std::size_t idx = 0; idx < values.size(); ++idx) {
    const bf16 value = to_bf16(values[idx]);
    std::copy_n(reinterpret_cast<const std::byte*>(&value), sizeof(value), bytes.data() + idx * sizeof(value));
  }
  return bytes;
}

/// \return where the tensor ends in the file
std::size_t write_tensor(const StoreSource& source, const ExportedTensor& tensor, AtomicFile& file, std::size_t offset) {
  const std::int64_t cols = tensor.shape.back();
  const std::int64_t step = std::max<std::int64_t>(kMaxRowsBytes / (cols * static_cast<std::int64_t>(sizeof(float))), 1);
  for (const ExportedRows& rows : tensor.rows) {
    for (std::int64_t row = 0; row < rows.num_rows; row += step) {
      const std::int64_t count = std::min(step, rows.num_rows - row);
      std::vector<float> values(static_cast<std::size_t>(count * cols));
      source.read(rows.stored, {rows.stored_row + row, count, 0, cols}, values);
      const std::vector<std::byte> bytes = encode_values(values, tensor.dtype);
      file.write_at(offset, bytes);
      offset += bytes.size();
    }
  }
  return offset;
}

using NamedTensor = std::pair<const std::string, ExportedTensor>;

/// One file; its tensors lie one behind the other.
void write_shard(const StoreSource& source, const Path& path, std::span<const NamedTensor* const> tensors) {
  std::vector<NamedShape> shapes;
  for (const NamedTensor* tensor : tensors) shapes.push_back({tensor->first, tensor->second.dtype, tensor->second.shape});
  const std::string header = safetensors_header(shapes, path.string(), Tree(Tree::Object{{"format", "pt"}}));
  AtomicFile file(path);
  file.write_at(0, std::as_bytes(std::span(header)));
  std::size_t offset = header.size();
  for (const NamedTensor* tensor : tensors) offset = write_tensor(source, tensor->second, file, offset);
  file.publish();
}

std::vector<std::vector<const NamedTensor*>> cut_into_shards(const ExportedTensors& tensors) {
  std::vector<std::vector<const NamedTensor*>> shards(1);
  std::int64_t bytes = 0;
  for (const NamedTensor& tensor : tensors) {
    if (!shards.back().empty() && bytes + tensor.second.bytes() > kMaxShardBytes) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().push_back(&tensor);
    bytes += tensor.second.bytes();
  }
  return shards;
}

void write_weights_of(const StoreSource& source, const Path& folder, const ExportedTensors& tensors, std::int64_t total) {
  const auto shards = cut_into_shards(tensors);
  if (shards.size() == 1) return write_shard(source, folder / "model.safetensors", shards.front());
  Tree weight_map(Tree::Object{});
  for (std::size_t idx = 0; idx < shards.size(); ++idx) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", idx + 1, shards.size());
    write_shard(source, folder / name, shards[idx]);
    for (const NamedTensor* tensor : shards[idx]) weight_map.object().emplace_back(tensor->first, Tree(name));
  }
  Tree metadata;
  metadata.set("total_size", Tree(total));
  Tree index;
  index.set("metadata", std::move(metadata));
  index.set("weight_map", std::move(weight_map));
  write_file_atomically(folder / "model.safetensors.index.json", to_json(index));
}

/// The store's config without what its weights no longer are.
std::string exported_config(const Path& store) {
  Tree config = parse_json(read_text_file(store / "config.json"), (store / "config.json").string());
  std::erase_if(config.object(), [](const Tree::Member& member) { return member.first == "quantization_config"; });
  config.set("torch_dtype", Tree("bfloat16"));
  return to_json(config);
}

}  // namespace

ExportReport export_hf(const Path& store, const Path& folder) {
  const auto start = std::chrono::steady_clock::now();
  if (fs::exists(folder) && (!fs::is_directory(folder) || !fs::is_empty(folder))) {
    throw Error(fmt::format("[{}] holds files already; name a new or empty folder", folder.string()));
  }
  StoreSource source(store);
  const ExportedTensors tensors = plan_export(source);
  ExportReport report = {.num_tensors = static_cast<std::int64_t>(tensors.size())};
  for (const auto& [name, tensor] : tensors) report.bytes += tensor.bytes();
  fs::create_directories(folder);
  write_weights_of(source, folder, tensors, report.bytes);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    if (fs::exists(store / name)) write_file_atomically(folder / name, read_text_file(store / name));
  }
  write_file_atomically(folder / "config.json", exported_config(store));
  report.seconds = seconds_since(start);
  return report;
}

}  // namespace meshseek
