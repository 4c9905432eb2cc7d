// Overlays and assignments from hostile hands: they change the tree, or throw a ConfigError and leave it as it was.
#include "config/overlay.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.hpp"
#include "config/ranges.hpp"
#include "config/serialise.hpp"
#include "modules/mlp/mlp.hpp"

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
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  Tree tree = kBase;
  bool was_applied = false;
  try {
    if (data[0] % 2 == 0) {
      apply_overlay(tree, parse_json(text, "fuzz"));
    } else {
      apply_set(tree, text);
    }
    was_applied = true;
    to_tree(from_tree<Stack>(*tree.find("model"), "model"));
  } catch (const ConfigError&) {
    if (!was_applied && tree != kBase) std::abort();
  }
  return 0;
}
