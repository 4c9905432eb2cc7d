// What the principles promise of run configs, beyond single rules.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "config/serialise.hpp"
#include "hf/hf_config.hpp"
#include "modules/model/model.hpp"
#include "stage1_convert/convert.hpp"
#include "stage2_configure/configure.hpp"
#include "stage3_run/create_run_config.hpp"
#include "stage3_run/runner.hpp"
#include "tensor/tile_layout.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

// ---------------------------------------------------------------- all values are typed

template <class T>
constexpr bool holds_text();

template <class Fields>
struct AnyFieldHoldsText;
template <class... F>
struct AnyFieldHoldsText<std::tuple<F...>> : std::bool_constant<(holds_text<typename F::member_type>() || ...)> {};

template <class T>
struct ElementHoldsText : std::false_type {};
template <class T>
struct ElementHoldsText<std::optional<T>> : std::bool_constant<holds_text<T>()> {};
template <class T>
struct ElementHoldsText<std::vector<T>> : std::bool_constant<holds_text<T>()> {};
template <class T, std::size_t N>
struct ElementHoldsText<std::array<T, N>> : std::bool_constant<holds_text<T>()> {};
template <class... T>
struct ElementHoldsText<std::variant<T...>> : std::bool_constant<(holds_text<T>() || ...)> {};

/// Whether a config holds a string or an untyped tree at any depth.
template <class T>
constexpr bool holds_text() {
  if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, std::string_view> || std::is_same_v<T, Tree>) {
    return true;
  } else if constexpr (HasFields<T>) {
    return AnyFieldHoldsText<decltype(T::fields())>::value;
  } else {
    return ElementHoldsText<T>::value;
  }
}

struct WithText {
  std::vector<std::optional<std::string>> names = {};
  static constexpr auto fields() { return std::tuple{field("names", &WithText::names, "")}; }
};

static_assert(holds_text<WithText>());
static_assert(!holds_text<Model::Config>(), "a run config holds text: what a forward reads must have been parsed before");

// ---------------------------------------------------------------- lifetimes

Path v3_tiny() { return Path(MESHSEEK_SOURCE_DIR) / "tests/data/checkpoints/v3-tiny"; }

std::unique_ptr<Runner> make_runner(const Path& store) {
  const HfConfig hf = read_hf_config(v3_tiny());
  return std::make_unique<Runner>(store, make_model_config(hf, {.mode = Mode::prefill}), make_model_config(hf, {.mode = Mode::decode}),
                                  RunnerOptions{.num_threads = 2});
}

class Promises : public ::testing::Test {
 protected:
  void SetUp() override { convert_checkpoint(v3_tiny(), store_.path() / "store", {}); }
  Path store() const { return store_.path() / "store"; }
  TemporaryFolder store_;
};

TEST_F(Promises, BothModesShareEachWeightAndKnowTheirMode) {
  const auto runner = make_runner(store());
  EXPECT_EQ(runner->prefill_run_config().mode, Mode::prefill);
  EXPECT_EQ(runner->decode_run_config().mode, Mode::decode);
  std::vector<const void*> prefill, decode;
  Model::Config prefill_copy = runner->prefill_run_config();
  Model::Config decode_copy = runner->decode_run_config();
  for_each_weight_slot(prefill_copy, "model", [&](WeightSlot& slot, const std::string&) { prefill.push_back(slot.tensor.bytes().data()); });
  for_each_weight_slot(decode_copy, "model", [&](WeightSlot& slot, const std::string&) { decode.push_back(slot.tensor.bytes().data()); });
  EXPECT_GT(prefill.size(), 50U);
  EXPECT_EQ(prefill, decode);
}

TEST_F(Promises, ResultsAndConfigsOutliveTheRunnerAndItsLoader) {
  auto runner = make_runner(store());
  const std::vector<std::int64_t> ids = {1, 2, 3};
  const Model::Output prefill = runner->prefill(ids, Model::Logits::all);
  const Model::Output decode = runner->decode(4);
  const std::vector<float> prefill_before = to_float_vector(prefill.logits);
  const std::vector<float> decode_before = to_float_vector(decode.post_norm);
  const Model::Config config = runner->decode_run_config();
  const std::vector<float> weight_before = to_float_vector(config.layers[0].mla.wo.input_tensor_b.tensor);
  runner.reset();
  EXPECT_EQ(to_float_vector(prefill.logits), prefill_before);
  EXPECT_EQ(to_float_vector(decode.post_norm), decode_before);
  EXPECT_EQ(to_float_vector(config.layers[0].mla.wo.input_tensor_b.tensor), weight_before);
}

// ---------------------------------------------------------------- a V3-shaped model of tiny tensors

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

/// Best of several runs, in seconds.
template <class Body>
double best_of(int repetitions, const Body& body) {
  double best = 1e9;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    const auto start = std::chrono::steady_clock::now();
    body();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

TEST(MergeTime, IsLessThanOpeningTheFilesAndGrowsLinearly) {
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

  const double merge_s = best_of(15, [&] { create_run_config<Model::Config>(small_config, small_weights, "model", mapped, options); });
  const double large_merge_s = best_of(15, [&] { create_run_config<Model::Config>(large_config, large_weights, "model", mapped, options); });
  const double open_s = best_of(5, [&] {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(store.path())) {
      if (entry.is_regular_file()) const TensorFile file(entry.path());
    }
  });
  std::printf("%lld files: opening %.1f ms, merging %.1f ms; 610 layers: merging %.1f ms (x %.1f)\n", static_cast<long long>(mapped.num_files()),
              open_s * 1e3, merge_s * 1e3, large_merge_s * 1e3, large_merge_s / merge_s);
  EXPECT_LT(merge_s, open_s);
  EXPECT_LT(large_merge_s, 12.0 * merge_s);
}

}  // namespace
}  // namespace meshseek
