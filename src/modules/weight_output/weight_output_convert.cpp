#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "hf/state_dict_view.hpp"
#include "modules/weight_output/weight_output.hpp"
#include "modules/weight_output/weight_writer.hpp"

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

Tree WeightOutput::write(std::string_view argument, const Shape& shape, WeightRows rows, WeightRole role, const WeightSplit& split) const {
  WeightJob job = {.path = folder_ + file_name(argument),
                   .shape = shape,
                   .dtype = dtype_of(role),
                   .layout = layout_of(role),
                   .mesh = context_->mesh,
                   .split = split,
                   .local = context_->local,
                   .source = std::move(rows)};
  Tree entry;
  entry.set("path", Tree(recorded_ + file_name(argument)));
  entry.set("shape", shape_tree(shape));
  entry.set("dtype", Tree(to_string(job.dtype)));
  entry.set("layout", Tree(to_string(job.layout)));
  entry.set("mesh", Tree(to_string(job.mesh)));
  Tree::Array placement;
  for (const std::string& axis : placement_of(split)) placement.emplace_back(axis);
  entry.set("placement", Tree(std::move(placement)));
  const WeightPieces pieces = pieces_of(job);
  if (context_->mesh.num_devices() > 1) entry.set("shard_shape", shape_tree(pieces.shape));
  entry.set("bytes", Tree(static_cast<std::int64_t>(plan_file(job, pieces).file_bytes)));
  if (context_->on_job) {
    context_->on_job(std::move(job));
  } else {
    write_weights(std::span(&job, 1), context_->store, *context_->team);
  }
  return entry;
}

WeightSplit WeightOutput::split_product(std::int64_t input_unit) const {
  return context_->joins_outputs ? split_outputs() : split_inputs(input_unit);
}

WeightSplit split_outputs(std::int64_t unit) { return {.over = WeightSplit::Over::cols, .dim = 0, .unit = unit}; }

WeightSplit split_inputs(std::int64_t unit) { return {.over = WeightSplit::Over::cols, .dim = 1, .unit = unit}; }

Tree convert_linear(const StateDictView& state_dict, std::string_view hf_name, const LinearWeight& linear, const WeightOutput& output) {
  const StateDictView weights = state_dict.sub(hf_name);
  const Shape shape = {linear.out, linear.in};
  Tree entry;
  entry.set("input_tensor_b", output.write("input_tensor_b", shape, weights.rows("weight", shape), linear.role, linear.split));
  if (!linear.has_bias) return entry;
  const bool outputs_are_split = linear.split.over != WeightSplit::Over::none && linear.split.dim == 0;
  entry.set("bias", output.write("bias", {linear.out}, weights.rows("bias", {linear.out}), WeightRole::precise,
                                 outputs_are_split ? linear.split : WeightSplit{}));
  return entry;
}

}  // namespace meshseek
