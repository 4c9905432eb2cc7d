// Overlays and assignments from hostile hands: they change the tree, or throw a ConfigError and leave it as it was.
#include "config/overlay.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.hpp"
#include "config/provenance.hpp"
#include "config/ranges.hpp"
#include "config/serialise.hpp"
#include "modules/mlp/mlp.hpp"

namespace meshseek {
extern const std::size_t kJsonStart;
const std::size_t kJsonStart = 1;  // for json_mutator.cpp
}  // namespace meshseek

using namespace meshseek;

namespace {

struct Stack {
  std::vector<Mlp::Config> layers = {};
  LinearConfig lm_head = {};
  static constexpr auto fields() {
    return std::tuple{field("layers", &Stack::layers, "blocks"), field("lm_head", &Stack::lm_head, "head")};
  }
};

Tree base() {
  Stack stack;
  stack.layers = std::vector<Mlp::Config>(3, decode_gated_mlp_config(64, 96, {}));
  Tree root;
  root.set("model", expand_tree(to_tree(stack)));
  return root;
}

}  // namespace

/// The first byte chooses: even: a tree of changes, odd: an assignment `path=value`.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Tree kBase = base();
  if (size == 0) return 0;
  const bool is_overlay = data[0] % 2 == 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Tree tree = kBase;
  Tree overlay;
  try {
    if (is_overlay) overlay = parse_json(text, "fuzz");
    is_overlay ? apply_overlay(tree, overlay) : apply_set(tree, text);
  } catch (const ConfigError&) {
    if (tree != kBase) std::abort();
    return 0;
  }
  // What was applied to the tree can be applied to the record of who set what: an exception here is a finding.
  Provenance provenance = Provenance::of(kBase, "default");
  is_overlay ? provenance.overlay(overlay, "fuzz") : provenance.set(text, "fuzz");
  try {
    to_tree(from_tree<Stack>(*tree.find("model"), "model"));
  } catch (const ConfigError&) {
    // The change made no config.
  }
  return 0;
}
