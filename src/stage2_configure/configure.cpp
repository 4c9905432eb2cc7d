#include "stage2_configure/configure.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "config/overlay.hpp"
#include "config/ranges.hpp"
#include "config/serialise.hpp"
#include "modules/model/model.hpp"

namespace meshseek {
namespace {

/// Assignments that fit the standard configs (made for block-float weights) to stores of another dtype.
std::vector<std::string> precision_sets(DataType weight_dtype) {
  if (weight_dtype == DataType::float32) return {"model.**.math_fidelity=HiFi4", "model.**.dtype=float32"};
  return {};
}

/// The element type that a weight config gives to an operator's weight; `standard` where it says nothing.
DataType weight_dtype_of(const Tree* weights, DataType standard) {
  const Tree* entry = weights == nullptr ? nullptr : weights->find("input_tensor_b");
  const Tree* dtype = entry == nullptr ? nullptr : entry->find("dtype");
  return dtype == nullptr ? standard : parse_dtype(dtype->as_string("weight config dtype"));
}

/// LoFi multiplies block mantissas: operators whose weights have none become HiFi2. Both trees are expanded; `weights` may be null.
void raise_lofi(Tree& node, const Tree* weights, DataType standard) {
  if (!node.is_object()) return;
  Tree* compute = node.find("compute_kernel_config");
  if (compute != nullptr && !is_block_float(weight_dtype_of(weights, standard))) {
    if (Tree* fidelity = compute->find("math_fidelity"); fidelity != nullptr && *fidelity == Tree("LoFi")) *fidelity = Tree("HiFi2");
  }
  for (auto& [name, child] : node.object()) raise_lofi(child, weights == nullptr ? nullptr : weights->find(name), standard);
}

Tree device_tree(const DeviceDescription& device) {
  Tree tree;
  tree.set("num_cores", Tree(device.num_cores));
  tree.set("l2_bytes", Tree(device.l2_bytes));
  tree.set("isa", Tree(device.isa));
  return tree;
}

/// Folds the layer lists again and checks that the result still reads as a typed config.
Tree fold_model(const Tree& expanded) { return to_tree(from_tree<Model::Config>(expanded, "model")); }

}  // namespace

Tree with_overlays(const Tree& model_config, const std::vector<Tree>& overlays, const std::vector<std::string>& sets) {
  Tree document = model_config;
  Tree* model = document.find("model");
  if (model == nullptr) throw ConfigError("[model config] has no \"model\"; expected a file written by `meshseek configure`");
  Tree root;
  root.set("model", expand_tree(*model, {}, LayerPlaceholder::keep, "model"));
  for (const Tree& overlay : overlays) apply_overlay(root, overlay);
  for (const std::string& assignment : sets) apply_set(root, assignment);
  *model = fold_model(*root.find("model"));
  return document;
}

Tree make_model_config(const HfConfig& hf, const ConfigureOptions& options) {
  if (options.mesh.shape.num_devices() != 1) {
    throw Error(fmt::format("[configure] mesh {}: only 1x1 is supported so far; leave --mesh out", to_string(options.mesh.shape)));
  }
  const bool prefill = options.mode == Mode::prefill;
  const Model::Config config = prefill ? Model::prefill_model_config(hf, options.mesh) : Model::decode_model_config(hf, options.mesh);
  Tree model = expand_tree(to_tree(config), {}, LayerPlaceholder::keep, "model");
  const Tree weights = options.weight_config.is_null() ? Tree() : expand_tree(options.weight_config, {}, LayerPlaceholder::keep, "model");
  raise_lofi(model, weights.is_null() ? nullptr : &weights, options.weight_dtype);
  Tree document;
  document.set("format_version", Tree(kModelConfigVersion));
  document.set("mode", Tree(prefill ? "prefill" : "decode"));
  document.set("mesh", Tree(to_string(options.mesh.shape)));
  document.set("device", device_tree(options.mesh.device));
  document.set("model", std::move(model));
  document = with_overlays(document, {}, precision_sets(options.weight_dtype));
  return with_overlays(document, options.overlays, options.sets);
}

}  // namespace meshseek
