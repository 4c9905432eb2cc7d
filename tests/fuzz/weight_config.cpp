// Weight configs from hostile files: expanding, folding and expanding again gives the same tree, and the merge ends in a ConfigError, not worse.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.hpp"
#include "modules/mlp/mlp.hpp"
#include "stage3_run/create_run_config.hpp"

using namespace meshseek;

namespace {

struct Block {
  std::optional<Mlp::Config> mlp = {};
  std::optional<LinearConfig> head = {};
  static constexpr auto fields() { return std::tuple{field("mlp", &Block::mlp, "block"), field("head", &Block::head, "head")}; }
};

struct Stack {
  std::vector<Block> layers = {};
  static constexpr auto fields() { return std::tuple{field("layers", &Stack::layers, "blocks")}; }
};

/// A model config that the weights may fit.
Tree model_config() {
  LinearConfig linear;
  linear.input_tensor_b.shape = {32, 32};
  linear.program_rule = MatmulProgramRule{};
  Mlp::Config mlp;
  mlp.w1 = mlp.w2 = mlp.w3 = linear;
  Stack stack;
  stack.layers = {Block{mlp, linear}, Block{mlp, {}}};
  return to_tree(stack);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Tree kModel = model_config();
  try {
    const Tree weights = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    const Tree expanded = expand_tree(weights, {}, LayerPlaceholder::substitute, "model");
    if (expand_tree(fold_ranges(expanded)) != expanded) std::abort();
    WeightLoader loader("/nonexistent", {});
    create_run_config<Stack>(kModel, weights, "model", loader);
    std::abort();  // there is no such store
  } catch (const ConfigError&) {
    // The only answer to what is wrong.
  }
  return 0;
}
