#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/error.hpp"
#include "hf/state_dict_view.hpp"
#include "modules/weight_output/weight_output.hpp"
#include "tensor/tensor_file.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek {
namespace {

constexpr std::string_view kRoot = "model";

/// Projections are multiplied tile by tile; everything else is read row by row.
Layout layout_of(WeightRole role) { return role == WeightRole::projection ? Layout::tile : Layout::row_major; }

Tree shape_tree(const Shape& shape) {
  Tree::Array dims;
  for (const std::int64_t dim : shape) dims.emplace_back(dim);
  return Tree(std::move(dims));
}

}  // namespace

WeightOutput WeightOutput::sub(std::string_view name) const {
  WeightOutput child = *this;
  if (!operator_.empty()) {
    child.folder_ += operator_ + "/";
    child.recorded_ += operator_ + "/";
  }
  child.operator_ = name;
  child.policy_path_ += fmt::format(".{}", name);
  return child;
}

WeightOutput WeightOutput::layer(std::string_view list, std::int64_t layer_idx) const {
  WeightOutput child = sub(list);
  child.folder_ += fmt::format("{}/{}/", list, layer_idx);
  child.recorded_ += fmt::format("{}/{{layer}}/", list);
  child.operator_.clear();
  child.policy_path_ += fmt::format(".{}", layer_idx);
  return child;
}

DataType WeightOutput::dtype_of(WeightRole role) const {
  const bool all_float32 = context_->dtype == DataType::float32;
  if (role == WeightRole::exact || all_float32) return DataType::float32;
  if (role == WeightRole::precise) return DataType::bfloat16;
  // The deepest policy entry on the way from "model" to this operator decides.
  DataType dtype = context_->dtype;
  const Tree* node = &context_->dtype_policy;
  std::string_view rest = std::string_view(policy_path_).substr(kRoot.size());
  while (node != nullptr) {
    if (node->is_string()) dtype = parse_dtype(node->as_string(policy_path_));
    if (rest.empty()) break;
    rest.remove_prefix(1);
    const std::size_t dot = std::min(rest.find('.'), rest.size());
    node = node->find(rest.substr(0, dot));
    rest.remove_prefix(dot);
  }
  return dtype;
}

std::string WeightOutput::file_name(std::string_view argument) const { return fmt::format("{}.{}.tensorbin", operator_, argument); }

Tree WeightOutput::publish(std::string_view argument, const Shape& shape, DataType dtype, Layout layout,
                           std::span<const std::byte> storage) const {
  const std::string relative = folder_ + file_name(argument);
  const Path path = context_->store / relative;
  std::filesystem::create_directories(path.parent_path());
  write_tensor_file(path, shape, dtype, layout, storage);
  if (context_->on_file) context_->on_file(relative, static_cast<std::int64_t>(storage.size()));
  Tree entry;
  entry.set("path", Tree(recorded_ + file_name(argument)));
  entry.set("shape", shape_tree(shape));
  entry.set("dtype", Tree(to_string(dtype)));
  entry.set("layout", Tree(to_string(layout)));
  entry.set("mesh", Tree(to_string(context_->mesh)));
  entry.set("placement", Tree(Tree::Array{Tree("replicate"), Tree("replicate")}));
  return entry;
}

Tree WeightOutput::write(std::string_view argument, const Shape& shape, std::span<const float> values, WeightRole role) const {
  const DataType dtype = dtype_of(role);
  const Layout layout = layout_of(role);
  return publish(argument, shape, dtype, layout, encode(values, shape, dtype, layout));
}

Tree WeightOutput::write_stack(std::string_view argument, const Shape& shape,
                               const std::function<std::vector<float>(std::int64_t)>& load_piece, WeightRole role) const {
  const DataType dtype = dtype_of(role);
  const Layout layout = layout_of(role);
  const Shape piece_shape(shape.begin() + 1, shape.end());
  const auto piece_bytes = static_cast<std::size_t>(storage_bytes(piece_shape, dtype, layout));
  std::vector<std::byte> storage(static_cast<std::size_t>(storage_bytes(shape, dtype, layout)));
  context_->team->parallel_for(static_cast<std::size_t>(shape[0]), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t piece_idx = begin; piece_idx < end; ++piece_idx) {
      const std::vector<float> values = load_piece(static_cast<std::int64_t>(piece_idx));
      encode_into(values, piece_shape, dtype, layout, std::span(storage).subspan(piece_idx * piece_bytes, piece_bytes));
    }
  });
  return publish(argument, shape, dtype, layout, storage);
}

Tree convert_linear(const StateDictView& state_dict, std::string_view hf_name, std::int64_t out, std::int64_t in,
                    const WeightOutput& output, WeightRole role, bool has_bias) {
  const StateDictView weights = state_dict.sub(hf_name);
  Tree entry;
  entry.set("input_tensor_b", output.write("input_tensor_b", {out, in}, weights.load("weight", {out, in}), role));
  if (has_bias) entry.set("bias", output.write("bias", {out}, weights.load("bias", {out}), WeightRole::precise));
  return entry;
}

}  // namespace meshseek
