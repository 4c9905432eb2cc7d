/// Stage 2: config.json, mesh shape and device description become the model configs. Needs no weights and no operator code.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "config/mode.hpp"
#include "config/provenance.hpp"
#include "config/tree.hpp"
#include "hf/hf_config.hpp"
#include "mesh/mesh_device.hpp"
#include "mesh/parallel_plan.hpp"
#include "tensor/dtype.hpp"

namespace meshseek {

/// A tree of changes, optionally with a "mode" whose config alone it changes, and the name under which explain() shows it.
struct Overlay {
  Tree tree = {};
  std::string name = {};
};

struct ConfigureOptions {
  Mode mode = Mode::prefill;
  MeshDevice mesh = {};
  ParallelPlan plan = ParallelPlan::users;
  /// Results have the same bits on every mesh and with any number of threads, whatever else is in a batch and however a prompt is cut. The config says so in
  /// "deterministic"; on a mesh of several columns it wants a store that was converted for it.
  bool deterministic = false;
  /// Standard dtype of the store the config is for: float32 makes everything HiFi4 and float32, bfloat16 turns LoFi into HiFi2.
  DataType weight_dtype = DataType::bfloat8_b;
  /// The "model" part of the store's weight config, when there is one: operators with weights of another dtype than the standard get a fidelity that fits.
  Tree weight_config = {};
  std::vector<Overlay> overlays = {};  ///< applied after expansion, in order
  std::vector<std::string> sets = {};  ///< "model.layers.0.mla.wo.dtype=float32", after the overlays, in order
};

/// {"format_version", "mode", "mesh", "deterministic" (where it is), "device", "model"}: typed configs of every module, equal layers folded into ranges.
/// \param provenance when given: filled with who set each field of the expanded "model"
/// \throws ConfigError for an overlay or assignment that does not fit.
Tree make_model_config(const HfConfig& hf, const ConfigureOptions& options, Provenance* provenance = nullptr);

/// Applies overlays and assignments to a model config document (as read from a file) and folds it again.
/// \param file the document's name; \param provenance when given: filled with who set each field of the expanded "model"
Tree with_overlays(const Tree& model_config, const std::vector<Overlay>& overlays, const std::vector<std::string>& sets,
                   const std::string& file = "the model config", Provenance* provenance = nullptr);

}  // namespace meshseek
