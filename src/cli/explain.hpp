/// What one operator's config says and who said it, as a document that serves both text and JSON.
#pragma once
#include <string>

#include "config/provenance.hpp"
#include "config/tree.hpp"

namespace meshseek::cli {

/// A model config whose fields are to be explained.
struct ExplainedConfig {
  std::string mode = {};       ///< "prefill" or "decode"
  Tree document = {};          ///< folded, as make_model_config() returns it
  Provenance provenance = {};  ///< of the expanded document
  Tree weight_config = {};     ///< "model" part of the store's weight config; null without a store
};

/// An operator: {"path", "mode", "op", "fields": [{"field", "value", "source"}], "weights": [{"argument", "path", "shape", "dtype"}]}, `value` null when unset,
/// `weights` only with a store. A field or group of fields below an operator: the same for these fields alone.
/// A plain field of a module: the same, with "a module's field" as `op`.
/// A module or list: {"path", "mode", "operators": [{"path", "op"}]}, equal neighbours folded into ranges.
/// \throws Error naming the nearest name when there is no such path
Tree explain(const ExplainedConfig& config, const std::string& path);

/// The document as lines.
std::string explanation_text(const Tree& document);

}  // namespace meshseek::cli
