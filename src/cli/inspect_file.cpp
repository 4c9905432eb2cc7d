#include "cli/inspect_file.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <map>

#include "base/error.hpp"
#include "base/file.hpp"
#include "config/provenance.hpp"
#include "config/ranges.hpp"
#include "config/serialise.hpp"
#include "hf/hf_config.hpp"
#include "hf/safetensors.hpp"
#include "stage3_run/create_run_config.hpp"
#include "tensor/tensor_file.hpp"

namespace meshseek::cli {
namespace {

Tree shape_tree(const Shape& shape) {
  Tree::Array dims;
  for (const std::int64_t dim : shape) dims.emplace_back(dim);
  return Tree(std::move(dims));
}

Tree inspect_safetensors(const Path& path) {
  Tree::Array tensors;
  std::int64_t total = 0;
  for (const auto& [name, tensor] : read_safetensors(path)) {
    Tree row;
    row.set("name", Tree(name));
    row.set("dtype", Tree(to_string(tensor.dtype)));
    row.set("shape", shape_tree(tensor.shape));
    row.set("bytes", Tree(static_cast<std::int64_t>(tensor.bytes.size())));
    total += static_cast<std::int64_t>(tensor.bytes.size());
    tensors.push_back(std::move(row));
  }
  Tree document;
  document.set("format", Tree("safetensors"));
  document.set("num_tensors", Tree(static_cast<std::int64_t>(tensors.size())));
  document.set("bytes", Tree(total));
  document.set("tensors", Tree(std::move(tensors)));
  return document;
}

Tree inspect_tensorbin(const Path& path) {
  const TensorFile file(path);
  const TensorFileHeader& header = file.header();
  Tree::Array shards;
  for (const TensorShard& shard : header.shards) {
    Tree::Array coordinate;
    for (const std::uint32_t dim : shard.mesh_coordinate) coordinate.emplace_back(std::int64_t{dim});
    Tree row;
    row.set("mesh_coordinate", Tree(std::move(coordinate)));
    row.set("offset", Tree(static_cast<std::int64_t>(shard.offset)));
    row.set("bytes", Tree(static_cast<std::int64_t>(shard.size)));
    shards.push_back(std::move(row));
  }
  Tree document;
  document.set("format", Tree("tensorbin"));
  document.set("shape", shape_tree(header.shape));
  document.set("dtype", Tree(to_string(header.dtype)));
  document.set("layout", Tree(to_string(header.layout)));
  document.set("bytes", Tree(static_cast<std::int64_t>(file.file_bytes())));
  document.set("shards", Tree(std::move(shards)));
  return document;
}

/// Members that are no trees of their own.
Tree frame_of(const Tree& config, const char* format, const std::string& where) {
  Tree document;
  document.set("format", Tree(format));
  for (const auto& [name, value] : config.as_object(where)) {
    if (name != "model") document.set(name, value);
  }
  return document;
}

void count_operators(const Tree& node, std::map<std::string, std::int64_t>& counts) {
  if (!node.is_object()) return;
  if (const Tree* op = node.find("op")) {
    ++counts[op->as_string("op")];
    return;
  }
  for (const auto& [name, child] : node.as_object("model")) count_operators(child, counts);
}

Tree inspect_model_config(const Tree& config, const std::string& where) {
  std::map<std::string, std::int64_t> counts;
  count_operators(expand_tree(*config.find("model"), {}, LayerPlaceholder::keep, "model"), counts);
  Tree::Array operators;
  for (const auto& [op, count] : counts) {
    Tree row;
    row.set("op", Tree(op));
    row.set("count", Tree(count));
    operators.push_back(std::move(row));
  }
  Tree document = frame_of(config, "model config", where);
  document.set("operators", Tree(std::move(operators)));
  return document;
}

void append_weights(const Tree& node, const std::string& where, Tree::Array& weights) {
  if (!node.is_string() && node.find("path") == nullptr) {
    for (const auto& [name, child] : node.as_object(where)) append_weights(child, where + "." + name, weights);
    return;
  }
  Tree row;
  row.set("weight", Tree(where));
  if (node.is_string())
    row.set("path", node);
  else
    for (const auto& [name, value] : node.as_object(where)) row.set(name, value);
  weights.push_back(std::move(row));
}

Tree inspect_weight_config(const Tree& config, const std::string& where) {
  const Tree* model = config.find("model");
  if (model == nullptr) throw ConfigError(fmt::format("[{}] has no \"model\"; expected a weight config", where));
  Tree::Array weights;
  append_weights(*model, "model", weights);
  Tree document = frame_of(config, "weight config", where);
  document.set("weights", Tree(std::move(weights)));
  return document;
}

Tree inspect_json(const Path& path) {
  const std::string where = path.string();
  const Tree document = parse_json(read_text_file(path), where);
  if (document.find("mode") != nullptr && document.find("model") != nullptr) return inspect_model_config(document, where);
  if (document.find("source_digest") != nullptr) return inspect_weight_config(document, where);
  if (document.find("model_type") == nullptr) {
    throw Error(fmt::format("[{}] is JSON of an unknown kind; expected a model config, a weight config or config.json", where));
  }
  Tree config = document;
  parse_hf_config(to_json(config), where);
  Tree result;
  result.set("format", Tree("config.json"));
  for (const auto& [name, value] : config.as_object(where)) result.set(name, value);
  return result;
}

}  // namespace

Tree inspect_file(const Path& path) {
  const Path extension = path.extension();
  if (extension == ".safetensors") return inspect_safetensors(path);
  if (extension == ".tensorbin") return inspect_tensorbin(path);
  if (extension == ".json") return inspect_json(path);
  throw Error(fmt::format("[{}] is of an unknown kind; expected .safetensors, .tensorbin, .json or a store", path.string()));
}

Tree inspect_store(const Path& store) {
  read_store_info(store);
  const Path path = store / "weight_config.json";
  Tree document = inspect_weight_config(parse_json(read_text_file(path), path.string()), path.string());
  document.set("format", Tree("store"));
  std::int64_t num_files = 0;
  std::int64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(store)) {
    if (entry.path().extension() != ".tensorbin") continue;
    ++num_files;
    bytes += static_cast<std::int64_t>(entry.file_size());
  }
  document.set("num_files", Tree(num_files));
  document.set("bytes", Tree(bytes));
  return document;
}

Tree inspect_run_config(const Model::Config& config) {
  Model::Config copy = config;
  Tree root;
  root.set("model", expand_tree(to_tree(copy), {}, LayerPlaceholder::keep, "model"));
  for_each_weight_slot(copy, "model", [&](WeightSlot& slot, const std::string& where) {
    Tree* node = find_path(root, where);
    if (node == nullptr) throw Error(fmt::format("[{}] the run config has no such operator", where));
    *node = Tree(fmt::format("{} {} {}", to_string(slot.tensor.dtype()), to_string(slot.tensor.shape()), to_string(slot.tensor.layout())));
  });
  return fold_ranges(root);
}

std::string to_text(const Tree& document) {
  std::string text;
  for (const auto& [name, value] : document.as_object("document")) {
    const bool is_table = value.is_array() && !value.as_array(name).empty() && value.as_array(name).front().is_object();
    if (!is_table) {
      text += fmt::format("{}: {}\n", name, value.is_string() ? value.as_string(name) : to_json_line(value));
      continue;
    }
    text += fmt::format("{}:\n", name);
    for (const Tree& row : value.as_array(name)) {
      std::string line;
      for (const auto& [key, cell] : row.as_object(name)) {
        line += fmt::format("  {}", cell.is_string() ? cell.as_string(key) : to_json_line(cell));
      }
      text += line + "\n";
    }
  }
  return text;
}

}  // namespace meshseek::cli
