// How long create_run_config() takes for a V3-shaped model of tiny tensors. Runs alone: it compares times.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "config/serialise.hpp"
#include "hf/hf_config.hpp"
#include "modules/model/model.hpp"
#include "stage3_run/create_run_config.hpp"
#include "tensor/tile_layout.hpp"
#include "tests/support/best_time.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

Path v3_tiny() { return Path(MESHSEEK_SOURCE_DIR) / "tests/data/checkpoints/v3-tiny"; }

/// The structure of DeepSeek-V3 (q_lora, 3 dense layers, experts in stacks of 256) with one tile of values in each matrix.
HfConfig v3_structure(std::int64_t num_layers) {
  HfConfig hf = read_hf_config(v3_tiny());
  hf.num_hidden_layers = num_layers;
  hf.num_nextn_predict_layers = 0;
  hf.first_k_dense_replace = 3;
  hf.vocab_size = hf.hidden_size = hf.intermediate_size = hf.moe_intermediate_size = hf.q_lora_rank = hf.kv_lora_rank = 4;
  hf.n_shared_experts = 1;
  hf.n_routed_experts = 256;
  hf.num_attention_heads = 2;
  hf.qk_nope_head_dim = hf.qk_rope_head_dim = hf.v_head_dim = 2;
  return hf;
}

void write_file(const Path& path, const WeightSlot& slot) {
  std::filesystem::create_directories(path.parent_path());
  const std::vector<float> values(static_cast<std::size_t>(volume(slot.shape)));
  const bool is_matrix = slot.shape.size() > 1;
  const DataType dtype = is_matrix ? DataType::bfloat8_b : DataType::float32;
  const Layout layout = is_matrix ? Layout::tile : Layout::row_major;
  write_tensor_file(path, slot.shape, dtype, layout, encode(values, slot.shape, dtype, layout));
}

/// Weight config entries for every slot of a config; `file_of` names the file of a dotted path.
template <class FileOf>
Tree weights_for(Model::Config& config, const FileOf& file_of) {
  Tree root = expand_tree(to_tree(config), {}, LayerPlaceholder::keep, "model");
  // The config's own tree with nothing but the weights left in it.
  const auto keep_weights = [](auto&& self, const Tree& node) -> Tree {
    Tree kept(Tree::Object{});
    for (const auto& [name, child] : node.as_object("")) {
      if (!child.is_object()) continue;
      if (child.find("path") != nullptr) {
        kept.set(name, child);
      } else if (Tree below = self(self, child); !below.as_object("").empty()) {
        kept.set(name, std::move(below));
      }
    }
    return kept;
  };
  for_each_weight_slot(config, "", [&](WeightSlot& slot, const std::string& where) {
    Tree* node = &root;
    for (std::size_t begin = 0; begin <= where.size();) {
      const std::size_t end = std::min(where.find('.', begin), where.size());
      node = node->find(where.substr(begin, end - begin));
      begin = end + 1;
    }
    Tree entry;
    entry.set("path", Tree(file_of(where, slot)));
    *node = std::move(entry);
  });
  return keep_weights(keep_weights, root);
}

TEST(MergeTime, IsLessThanOpeningTheFilesAndGrowsLinearly) {
  constexpr int kAttempts = 5;  // another program may take the memory bandwidth for a while
  const TemporaryFolder store;
  const auto config_of = [](std::int64_t layers) { return Model::prefill_model_config(v3_structure(layers), {}); };
  Model::Config small = config_of(61);
  // 61 layers: a file for each tensor. 610 layers: the same files again and again.
  const Tree small_weights = weights_for(small, [&](const std::string& where, const WeightSlot& slot) {
    write_file(store.path() / where, slot);
    return where;
  });
  Model::Config large = config_of(610);
  const Tree large_weights = weights_for(large, [&](const std::string& where, const WeightSlot&) {
    if (!where.starts_with("layers.")) return where;
    const std::size_t dot = where.find('.', 7);
    const std::int64_t layer_idx = std::stoll(where.substr(7, dot - 7));
    return "layers." + std::to_string(layer_idx < 3 ? layer_idx : 3 + (layer_idx - 3) % 58) + where.substr(dot);
  });
  const Tree small_config = to_tree(small);
  const Tree large_config = to_tree(large);
  ThreadTeam team(1);
  const RunConfigOptions options = {.team = &team};
  WeightLoader mapped(store.path(), {});
  create_run_config<Model::Config>(small_config, small_weights, "model", mapped, options);

  double merge_s = 1e9, large_merge_s = 1e9, open_s = 1e9;
  for (int attempt = 0; attempt < kAttempts && (merge_s >= open_s || large_merge_s >= 12.0 * merge_s || attempt == 0); ++attempt) {
    merge_s = testing::best_time(15, [&] { create_run_config<Model::Config>(small_config, small_weights, "model", mapped, options); });
    large_merge_s =
        testing::best_time(15, [&] { create_run_config<Model::Config>(large_config, large_weights, "model", mapped, options); });
    open_s = testing::best_time(5, [&] {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(store.path())) {
        if (entry.is_regular_file()) const TensorFile file(entry.path());
      }
    });
    std::printf("%lld files: opening %.1f ms, merging %.1f ms; 610 layers: merging %.1f ms (x %.1f)\n",
                static_cast<long long>(mapped.num_files()), open_s * 1e3, merge_s * 1e3, large_merge_s * 1e3, large_merge_s / merge_s);
  }
  EXPECT_LT(merge_s, open_s);
  EXPECT_LT(large_merge_s, 12.0 * merge_s);
}

}  // namespace
}  // namespace meshseek
