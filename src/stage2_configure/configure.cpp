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

void raise_lofi(Tree& node) {
  if (!node.is_object()) return;
  for (auto& [name, child] : node.object()) {
    if (name == "math_fidelity" && child == Tree("LoFi")) child = Tree("HiFi2");
    raise_lofi(child);
  }
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
  Tree model = to_tree(config);
  if (!is_block_float(options.weight_dtype)) raise_lofi(model);
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
