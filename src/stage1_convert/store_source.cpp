#include "stage1_convert/store_source.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/error.hpp"
#include "base/file.hpp"
#include "config/ranges.hpp"
#include "hf/state_dict_view.hpp"
#include "modules/model/model.hpp"
#include "stage1_convert/convert.hpp"
#include "stage1_convert/staged_store.hpp"
#include "tensor/read_rows.hpp"

namespace meshseek {
namespace {

const Tree& member(const Tree& document, const char* key, const std::string& where) {
  const Tree* found = document.find(key);
  if (found == nullptr) throw ConfigError(fmt::format("[{}] has no \"{}\"; convert the store again", where, key));
  return *found;
}

Manifest need_manifest(const Path& store) {
  if (std::filesystem::exists(store / kUnfinishedMark)) {
    throw Error(fmt::format("[{}] the conversion did not finish; run `meshseek convert` again", store.string()));
  }
  auto manifest = read_manifest(store);
  if (!manifest)
    throw Error(fmt::format("[{}] has no {}; expected a store written by this version; convert it again", store.string(), kManifestFile));
  return *std::move(manifest);
}

/// Path of an argument of a module's operator in the weight config.
std::string path_of(const Tree& module, const char* op, const char* argument) {
  const Tree* node = module.find(op);
  node = node == nullptr ? nullptr : node->find(argument);
  node = node == nullptr ? nullptr : node->find("path");
  return node == nullptr ? "" : node->as_string("path");
}

std::int64_t dim_from_end(const Shape& shape, std::size_t from_end) { return shape.size() < from_end ? 1 : shape[shape.size() - from_end]; }

}  // namespace

StoreSource::StoreSource(const Path& store) : store_(store), hf_(read_hf_config(store)), manifest_(need_manifest(store)) {
  const std::string where = (store / kWeightConfigFile).string();
  const Tree document = parse_json(read_text_file(store / kWeightConfigFile), where);
  mesh_ = parse_mesh_shape(member(document, "mesh", where).as_string(where + " mesh"));
  dtype_ = parse_dtype(member(document, "dtype", where).as_string(where + " dtype"));
  digest_ = member(document, "source_digest", where).as_string(where + " source_digest");
  if (const Tree* policy = document.find("dtype_policy")) dtype_policy_ = *policy;
  find_own_mtp_tensors(member(document, "model", where));
  find_splits(document.flag("deterministic", where));
}

/// The modules say how they cut for this store: another one may be cut otherwise.
void StoreSource::find_splits(bool joins_outputs) {
  ConversionContext context = {.dtype = dtype_, .mesh = mesh_, .joins_outputs = joins_outputs};
  context.on_job = [this](const WeightJob& job) { splits_.insert_or_assign(job.path, job.split); };
  Model::convert_weights(hf_, StateDictView(*this), WeightOutput(context), mesh_);
}

void StoreSource::find_own_mtp_tensors(const Tree& model) {
  const Tree* modules = model.find("mtp");
  if (modules == nullptr) return;
  const Tree expanded = expand_ranges(*modules, hf_.num_nextn_predict_layers, "model.mtp");
  for (std::int64_t module_idx = 0; module_idx < hf_.num_nextn_predict_layers; ++module_idx) {
    const Tree& module = *expanded.find(std::to_string(module_idx));
    const std::string prefix = fmt::format("model.layers.{}.", hf_.num_hidden_layers + module_idx);
    if (path_of(module, "embedding", "weight").starts_with("mtp/")) own_tensors_.insert(prefix + "embed_tokens.weight");
    if (path_of(module, "lm_head", "input_tensor_b").starts_with("mtp/")) own_tensors_.insert(prefix + "shared_head.head.weight");
  }
}

bool StoreSource::contains(std::string_view name) const { return own_tensors_.contains(name); }

void StoreSource::adopt(WeightJob& job) {
  const auto entry = manifest_.files.find(job.path);
  if (entry == manifest_.files.end() || !entry->second.description) {
    throw Error(fmt::format("[{}] has no {}; the store is not complete, convert it again", store_.string(), job.path));
  }
  if (entry->second.description->ranks != "all") {
    throw Error(fmt::format("[{}] holds the pieces of the ranks {} only; expected a store of all ranks", store_.string(),
                            entry->second.description->ranks));
  }
  WeightJob stored = job;
  stored.mesh = mesh_;
  stored.split = splits_.at(job.path);
  stored.local = {};
  WeightPieces pieces = pieces_of(stored);
  TensorFile file(store_ / job.path);
  if (file.header().shape != pieces.shape || file.header().dtype != job.dtype || file.header().shards.size() != pieces.ranks.size()) {
    throw Error(fmt::format("[{}] has pieces {} {}; config.json and the mesh {} ask for {} {}; verify the store",
                            (store_ / job.path).string(), to_string(file.header().shape), to_string(file.header().dtype), to_string(mesh_),
                            to_string(pieces.shape), to_string(job.dtype)));
  }
  const std::int64_t cols = dim_from_end(job.shape, 1);
  job.source = {this, {{job.path, 0, cols == 0 ? 0 : volume(job.shape) / cols}}};
  tensors_.insert_or_assign(job.path, StoredTensor{std::move(file), std::move(stored), std::move(pieces)});
}

void StoreSource::read(std::string_view name, const MatrixPart& part, std::span<float> out) const {
  const StoredTensor& stored = tensors_.find(name)->second;
  const std::int64_t whole_rows = dim_from_end(stored.job.shape, 2);
  const std::int64_t piece_rows = dim_from_end(stored.pieces.shape, 2);
  for (std::size_t buffer_idx = 0; buffer_idx < stored.pieces.pieces.size(); ++buffer_idx) {
    const auto rank = std::find(stored.pieces.buffer_of_rank.begin(), stored.pieces.buffer_of_rank.end(), buffer_idx);
    const Tensor tensor = stored.file.shard(static_cast<std::size_t>(rank - stored.pieces.buffer_of_rank.begin()));
    const WeightOrigin origin = origin_of(stored.job, stored.pieces, stored.pieces.pieces[buffer_idx]);
    const std::int64_t from_col = std::max(part.first_col, origin.col);
    const std::int64_t num_cols = std::min(part.first_col + part.num_cols, origin.col + dim_from_end(stored.pieces.shape, 1)) - from_col;
    const std::int64_t num_matrices = volume(stored.pieces.shape) / (piece_rows * dim_from_end(stored.pieces.shape, 1));
    for (std::int64_t row = part.first_row; row < part.first_row + part.num_rows; ++row) {
      const std::int64_t matrix = row / whole_rows - origin.matrix;
      const std::int64_t row_in_piece = row % whole_rows - origin.row;
      if (matrix < 0 || matrix >= num_matrices || row_in_piece < 0 || row_in_piece >= piece_rows || num_cols <= 0) continue;
      const auto target = static_cast<std::size_t>((row - part.first_row) * part.num_cols + from_col - part.first_col);
      read_rows(tensor, {matrix * piece_rows + row_in_piece, 1, from_col - origin.col, num_cols}, out.subspan(target), num_cols);
    }
  }
}

std::string StoreSource::identity(std::string_view name, Trust) const {
  const ManifestEntry& entry = manifest_.files.find(std::string(name))->second;
  return fmt::format("{} {} {}", name, entry.sha256, entry.description_sha256);
}

ConvertReport reshard_store(const Path& source, const Path& store, const ConvertOptions& options) {
  StoreSource stored(source);
  ConvertOptions same_types = options;
  same_types.dtype = stored.dtype();
  same_types.dtype_policy = stored.dtype_policy();
  return convert_from({.hf = stored.hf(),
                       .source = stored,
                       .folder = source,
                       .digest = stored.digest(),
                       .adopt = [&stored](WeightJob& job) { stored.adopt(job); }},
                      store, same_types);
}

}  // namespace meshseek
