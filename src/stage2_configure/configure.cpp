#include "stage2_configure/configure.hpp"

#include <fmt/format.h>

#include <optional>

#include "base/error.hpp"
#include "config/model_config_file.hpp"
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

/// What the modules plan for. Deterministic: no panels, and blocks of K that do not depend on the machine's caches.
MeshDevice planned_mesh(const ConfigureOptions& options) {
  MeshDevice mesh = options.mesh;
  if (!options.deterministic) return mesh;
  mesh.deterministic = true;
  mesh.device.l2_bytes = 0;
  mesh.device.isa = "scalar";
  return mesh;
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

void apply_assignments(Tree& root, const std::vector<std::string>& sets, const std::string& source, Provenance* provenance) {
  for (const std::string& assignment : sets) {
    apply_set(root, assignment);
    if (provenance != nullptr) provenance->set(assignment, source.empty() ? "--set " + assignment : source);
  }
}

/// The changes of an overlay to the config of one mode; nothing when its "mode" is the other one.
std::optional<Tree> overlay_for(const Overlay& overlay, Mode mode) {
  const Tree* given = overlay.tree.find("mode");
  if (given == nullptr) return overlay.tree;
  if (from_tree<Mode>(*given, overlay.name + " mode") != mode) return std::nullopt;
  Tree changes = overlay.tree;
  std::erase_if(changes.object(), [](const Tree::Member& member) { return member.first == "mode"; });
  return changes;
}

void apply_changes(Tree& root, Mode mode, const std::vector<Overlay>& overlays, const std::vector<std::string>& sets,
                   Provenance* provenance) {
  for (const Overlay& overlay : overlays) {
    const std::optional<Tree> changes = overlay_for(overlay, mode);
    if (!changes) continue;
    apply_overlay(root, *changes);
    if (provenance != nullptr) provenance->overlay(*changes, overlay.name);
  }
  apply_assignments(root, sets, "", provenance);
}

/// What the dtype of the operators' weights does to the standard config.
void fit_to_weights(Tree& root, const ConfigureOptions& options, Provenance* provenance) {
  Tree weights;
  if (!options.weight_config.is_null()) weights.set("model", expand_tree(options.weight_config, {}, LayerPlaceholder::keep, "model"));
  const Tree before = root;
  raise_lofi(*root.find("model"), weights.find("model"), options.weight_dtype);
  const auto store_source = [&](DataType dtype) { return fmt::format("weight dtype {} in the store", to_string(dtype)); };
  if (provenance != nullptr) {
    provenance->changes(before, root, [&](const std::string& path) {
      constexpr std::string_view kField = ".compute_kernel_config.math_fidelity";
      return store_source(weight_dtype_of(find_path(weights, path.substr(0, path.size() - kField.size())), options.weight_dtype));
    });
  }
  apply_assignments(root, precision_sets(options.weight_dtype), store_source(options.weight_dtype), provenance);
}

}  // namespace

Tree with_overlays(const Tree& model_config, const std::vector<Overlay>& overlays, const std::vector<std::string>& sets,
                   const std::string& file, Provenance* provenance) {
  Tree root;
  root.set("model", expand_tree(model_part_of(model_config, file), {}, LayerPlaceholder::keep, "model"));
  if (provenance != nullptr) {
    Tree folded;
    folded.set("model", *model_config.find("model"));
    *provenance = Provenance::of_file(folded, file);
  }
  apply_changes(root, from_tree<Mode>(*model_config.find("mode"), file + " mode"), overlays, sets, provenance);
  Tree document = model_config;
  *document.find("model") = fold_model(*root.find("model"));
  return document;
}

Tree make_model_config(const HfConfig& hf, const ConfigureOptions& options, Provenance* provenance) {
  const bool prefill = options.mode == Mode::prefill;
  const MeshDevice mesh = planned_mesh(options);
  const Model::Config config =
      prefill ? Model::prefill_model_config(hf, mesh, options.plan) : Model::decode_model_config(hf, mesh, options.plan);
  Tree root;
  root.set("model", expand_tree(to_tree(config), {}, LayerPlaceholder::keep, "model"));
  if (provenance != nullptr) *provenance = Provenance::of(root, "default");
  fit_to_weights(root, options, provenance);
  apply_changes(root, options.mode, options.overlays, options.sets, provenance);
  Tree document;
  document.set("format_version", Tree(kModelConfigVersion));
  document.set("mode", Tree(prefill ? "prefill" : "decode"));
  document.set("mesh", Tree(to_string(options.mesh.shape)));
  if (options.deterministic) document.set("deterministic", Tree(true));
  document.set("device", device_tree(options.mesh.device));
  document.set("model", fold_model(*root.find("model")));
  return document;
}

}  // namespace meshseek
