#include "hf/hf_config.hpp"

#include <fmt/format.h>

#include "config/tree.hpp"
#include "hf/test_files.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

using ::testing::AllOf;
using testing::checkpoint;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::write_text;

/// The config of a checkpoint as a tree, to be changed.
Tree config_tree(const std::string& name) { return parse_json(read_text_file(checkpoint(name) / "config.json"), name); }
HfConfig parse(const Tree& tree) { return parse_hf_config(to_json(tree), "config.json"); }

/// What parsing v3-tiny's config reports after one field was changed.
std::string error_with(const std::string& field, Tree value) {
  Tree tree = config_tree("v3-tiny");
  tree.set(field, std::move(value));
  const std::string message = error_of([&] { parse(tree); });
  EXPECT_THAT(message, HasSubstr(field));
  EXPECT_THAT(message, HasSubstr("config.json"));
  return message;
}

std::string error_with_rope(const std::string& field, Tree value) {
  Tree tree = config_tree("v3-tiny");
  tree.find("rope_scaling")->set(field, std::move(value));
  const std::string message = error_of([&] { parse(tree); });
  EXPECT_THAT(message, AllOf(HasSubstr(field), HasSubstr("rope_scaling")));
  return message;
}

void remove_key(Tree& tree, std::string_view key) {
  std::erase_if(tree.object(), [&](const Tree::Member& member) { return member.first == key; });
}

TEST(HfConfig, ReadsV3) {
  const HfConfig config = read_hf_config(checkpoint("v3-tiny"));
  EXPECT_EQ(config.model_type, "deepseek_v3");
  EXPECT_EQ(config.vocab_size, 256);
  EXPECT_EQ(config.hidden_size, 144);
  EXPECT_EQ(config.intermediate_size, 224);
  EXPECT_EQ(config.moe_intermediate_size, 32);
  EXPECT_EQ(config.num_hidden_layers, 3);
  EXPECT_EQ(config.num_nextn_predict_layers, 1);
  EXPECT_EQ(config.num_attention_heads, 4);
  EXPECT_EQ(config.n_shared_experts, 1);
  EXPECT_EQ(config.n_routed_experts, 16);
  EXPECT_EQ(config.num_experts_per_tok, 4);
  EXPECT_EQ(config.n_group, 4);
  EXPECT_EQ(config.topk_group, 2);
  EXPECT_EQ(config.topk_method, "noaux_tc");
  EXPECT_EQ(config.scoring_func, "sigmoid");
  EXPECT_TRUE(config.norm_topk_prob);
  EXPECT_EQ(config.routed_scaling_factor, 2.5);
  EXPECT_EQ(config.first_k_dense_replace, 1);
  EXPECT_EQ(config.moe_layer_freq, 1);
  EXPECT_EQ(config.q_lora_rank, 64);
  EXPECT_EQ(config.kv_lora_rank, 128);
  EXPECT_EQ(config.qk_head_dim(), 48);
  EXPECT_EQ(config.v_head_dim, 32);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_EQ(config.max_position_embeddings, 2560);
  EXPECT_FALSE(config.attention_bias);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_EQ(config.bos_token_id, 0);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(1));
  EXPECT_THAT(config.weight_block_size, IsEmpty());
}

TEST(HfConfig, ReadsYarnFromIntegersAndFromFloats) {
  for (const char* name : {"v3-tiny", "v2lite-tiny", "tied-tiny"}) {
    const RopeConfig rope = read_hf_config(checkpoint(name)).rope;
    EXPECT_EQ(rope.type, "yarn");
    EXPECT_EQ(rope.theta, 10000.0);
    EXPECT_EQ(rope.factor, 40.0);
    EXPECT_EQ(rope.beta_fast, 32.0);
    EXPECT_EQ(rope.beta_slow, 1.0);
    EXPECT_EQ(rope.mscale_all_dim, std::string(name) == "v2lite-tiny" ? 0.707 : 1.0);
    EXPECT_EQ(rope.mscale, rope.mscale_all_dim);
    EXPECT_EQ(rope.original_max_position_embeddings, 64);
    EXPECT_FALSE(rope.attention_factor.has_value());
    EXPECT_TRUE(rope.interleave);
  }
}

TEST(HfConfig, ReadsV2AndV2Lite) {
  const HfConfig v2 = read_hf_config(checkpoint("v2-tiny"));
  EXPECT_EQ(v2.model_type, "deepseek_v2");
  EXPECT_EQ(v2.topk_method, "group_limited_greedy");
  EXPECT_EQ(v2.scoring_func, "softmax");
  EXPECT_FALSE(v2.norm_topk_prob);
  EXPECT_EQ(v2.routed_scaling_factor, 16.0);
  EXPECT_EQ(v2.n_shared_experts, 2);
  EXPECT_EQ(v2.num_nextn_predict_layers, 0);
  const HfConfig lite = read_hf_config(checkpoint("v2lite-tiny"));
  EXPECT_EQ(lite.topk_method, "greedy");
  EXPECT_EQ(lite.q_lora_rank, 0);
  EXPECT_EQ(lite.n_routed_experts, 8);
  EXPECT_EQ(lite.num_experts_per_tok, 3);
}

TEST(HfConfig, ReadsMoonlightWithoutRopeScaling) {
  const HfConfig config = read_hf_config(checkpoint("moonlight-tiny"));
  EXPECT_EQ(config.rope.type, "default");
  EXPECT_EQ(config.rope.theta, 50000.0);
  EXPECT_EQ(config.rope.mscale_all_dim, 0.0);
  EXPECT_EQ(config.q_lora_rank, 0);
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_EQ(config.routed_scaling_factor, 2.446);
}

TEST(HfConfig, ReadsKimi) {
  const HfConfig config = read_hf_config(checkpoint("kimi-tiny"));
  EXPECT_EQ(config.model_type, "kimi_k2");
  EXPECT_EQ(config.n_routed_experts, 24);
  EXPECT_EQ(config.rope.factor, 32.0);
  EXPECT_EQ(config.rope.beta_fast, 1.0);
  EXPECT_EQ(config.rope.beta_slow, 1.0);
  EXPECT_EQ(config.rope.theta, 50000.0);
}

TEST(HfConfig, ReadsOddSizes) {
  const HfConfig config = read_hf_config(checkpoint("odd-tiny"));
  EXPECT_EQ(config.vocab_size, 101);
  EXPECT_EQ(config.hidden_size, 72);
  EXPECT_EQ(config.num_attention_heads, 3);
  EXPECT_EQ(config.qk_nope_head_dim, 20);
  EXPECT_EQ(config.qk_rope_head_dim, 8);
  EXPECT_EQ(config.v_head_dim, 28);
  EXPECT_EQ(config.n_routed_experts, 5);
}

TEST(HfConfig, ReadsTiedEmbeddingsBiasAndSeveralEndTokens) {
  const HfConfig config = read_hf_config(checkpoint("tied-tiny"));
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_TRUE(config.attention_bias);
  EXPECT_FALSE(config.norm_topk_prob);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(1, 2));
}

TEST(HfConfig, ReadsTheBlockSizeOfFp8Checkpoints) {
  EXPECT_THAT(read_hf_config(checkpoint("v3-tiny-fp8")).weight_block_size, ElementsAre(128, 128));
  EXPECT_THAT(read_hf_config(checkpoint("v3-tiny-fp8-ue8m0")).weight_block_size, ElementsAre(128, 128));
}

TEST(HfConfig, ReadsTheEmbeddedModel) {
  const HfConfig config = read_hf_config(Path(MESHSEEK_SOURCE_DIR) / "models" / "tiny-shakespeare");
  EXPECT_EQ(config.vocab_size, 4096);
  EXPECT_EQ(config.num_hidden_layers, 6);
  EXPECT_EQ(config.rope.original_max_position_embeddings, 512);
  EXPECT_THAT(config.weight_block_size, ElementsAre(128, 128));
  EXPECT_THAT(read_hf_config(testing::data_file("models/tiny-shakespeare-bf16")).weight_block_size, IsEmpty());
}

TEST(HfConfig, MoeLayersFollowFirstDenseAndFrequency) {
  Tree tree = config_tree("v3-tiny");
  tree.set("first_k_dense_replace", 3);
  tree.set("moe_layer_freq", 2);
  const HfConfig config = parse(tree);
  EXPECT_FALSE(config.is_moe_layer(2));
  EXPECT_FALSE(config.is_moe_layer(3));
  EXPECT_TRUE(config.is_moe_layer(4));
}

TEST(HfConfig, ADenseModelNeedsNoExpertFields) {
  Tree tree = config_tree("v3-tiny");
  for (const char* key : {"n_shared_experts", "num_experts_per_tok", "topk_method", "scoring_func", "norm_topk_prob",
                          "routed_scaling_factor", "moe_intermediate_size", "first_k_dense_replace", "n_group", "topk_group"}) {
    remove_key(tree, key);
  }
  tree.set("n_routed_experts", Tree());
  const HfConfig config = parse(tree);
  EXPECT_EQ(config.n_routed_experts, 0);
  EXPECT_FALSE(config.is_moe_layer(2));
}

TEST(HfConfig, OptionalFieldsMayBeAbsentOrNull) {
  for (const bool absent : {true, false}) {
    Tree tree = config_tree("v3-tiny");
    for (const char* key : {"num_nextn_predict_layers", "moe_layer_freq", "attention_bias", "tie_word_embeddings", "bos_token_id",
                            "eos_token_id", "rope_scaling", "hidden_act", "num_key_value_heads"}) {
      tree.set(key, Tree());
      if (absent) remove_key(tree, key);
    }
    const HfConfig config = parse(tree);
    EXPECT_EQ(config.num_nextn_predict_layers, 0);
    EXPECT_EQ(config.moe_layer_freq, 1);
    EXPECT_EQ(config.bos_token_id, -1);
    EXPECT_THAT(config.eos_token_ids, IsEmpty());
    EXPECT_EQ(config.rope.type, "default");
  }
}

TEST(HfConfig, RopeInterleaveAndAttentionFactorAreRead) {
  Tree tree = config_tree("v3-tiny");
  tree.set("rope_interleave", false);
  tree.find("rope_scaling")->set("attention_factor", 1.25);
  const RopeConfig rope = parse(tree).rope;
  EXPECT_FALSE(rope.interleave);
  EXPECT_EQ(rope.attention_factor, 1.25);
}

TEST(HfConfig, BothSpellingsOfRopeGiveTheSame) {
  Tree old_spelling = config_tree("v3-tiny");
  old_spelling.set("rope_theta", 50000);
  Tree new_spelling = old_spelling;
  Tree settings = *old_spelling.find("rope_scaling");
  remove_key(settings, "type");
  settings.set("rope_type", "yarn");
  settings.set("rope_theta", 50000.0);
  remove_key(new_spelling, "rope_scaling");
  remove_key(new_spelling, "rope_theta");
  new_spelling.set("rope_parameters", settings);
  const RopeConfig a = parse(old_spelling).rope;
  const RopeConfig b = parse(new_spelling).rope;
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.theta, 50000.0);
  EXPECT_EQ(b.theta, 50000.0);
  EXPECT_EQ(a.factor, b.factor);
  EXPECT_EQ(a.original_max_position_embeddings, b.original_max_position_embeddings);
  EXPECT_EQ(a.mscale_all_dim, b.mscale_all_dim);
}

TEST(HfConfig, EveryRequiredFieldIsNamedWhenItIsMissing) {
  for (const char* key : {"model_type",
                          "vocab_size",
                          "hidden_size",
                          "intermediate_size",
                          "moe_intermediate_size",
                          "num_hidden_layers",
                          "num_attention_heads",
                          "n_routed_experts",
                          "n_shared_experts",
                          "num_experts_per_tok",
                          "topk_method",
                          "scoring_func",
                          "norm_topk_prob",
                          "routed_scaling_factor",
                          "first_k_dense_replace",
                          "q_lora_rank",
                          "kv_lora_rank",
                          "qk_nope_head_dim",
                          "qk_rope_head_dim",
                          "v_head_dim",
                          "rms_norm_eps",
                          "max_position_embeddings",
                          "n_group",
                          "topk_group"}) {
    Tree tree = config_tree("v3-tiny");
    remove_key(tree, key);
    EXPECT_THAT(error_of([&] { parse(tree); }), AllOf(HasSubstr(fmt::format("config.json: {}]", key)), HasSubstr("missing"))) << key;
  }
}

TEST(HfConfig, ScoringFuncIsNeverInferredFromTheModelType) {
  Tree tree = config_tree("v3-tiny");
  tree.set("scoring_func", "softmax");
  EXPECT_EQ(parse(tree).scoring_func, "softmax");
  EXPECT_THAT(error_with("scoring_func", Tree()), HasSubstr("got null"));
}

TEST(HfConfig, RefusesUnknownModelTypesAndListsTheSupported) {
  EXPECT_THAT(error_with("model_type", "llama"), HasSubstr("deepseek_v2, deepseek_v3, kimi_k2"));
  EXPECT_THAT(error_of([] { read_hf_config(checkpoint("v32-tiny")); }),
              AllOf(HasSubstr("deepseek_v32"), HasSubstr("deepseek_v2, deepseek_v3, kimi_k2")));
}

TEST(HfConfig, RefusesFeaturesThatWouldChangeTheMathematics) {
  error_with("hidden_act", "gelu");
  error_with("index_topk", 2048);
  error_with("mlp_bias", true);
  error_with("topk_method", "aux_loss");
  error_with("scoring_func", "sqrtsoftplus");
  error_with_rope("type", "linear");
  error_with_rope("llama_4_scaling_beta", 0.1);
}

TEST(HfConfig, RefusesOtherQuantisations) {
  const auto with = [](const std::string& field, Tree value) {
    Tree tree = config_tree("v3-tiny-fp8");
    tree.find("quantization_config")->set(field, std::move(value));
    const std::string message = error_of([&] { parse(tree); });
    EXPECT_THAT(message, HasSubstr("quantization_config: " + field));
  };
  with("quant_method", "awq");
  with("fmt", "e5m2");
  with("weight_block_size", Tree());
  with("weight_block_size", Tree::Array{128});
  with("weight_block_size", Tree::Array{128, 0});
}

TEST(HfConfig, RefusesWrongTypes) {
  EXPECT_THAT(error_with("hidden_size", "144"), HasSubstr("expected an integer"));
  EXPECT_THAT(error_with("hidden_size", 144.0), HasSubstr("expected an integer"));
  EXPECT_THAT(error_with("num_attention_heads", true), HasSubstr("expected an integer"));
  EXPECT_THAT(error_with("rms_norm_eps", "1e-6"), HasSubstr("expected a number"));
  EXPECT_THAT(error_with("norm_topk_prob", 1), HasSubstr("expected true or false"));
  EXPECT_THAT(error_with("eos_token_id", Tree::Array{1, "2"}), HasSubstr("expected an integer"));
  EXPECT_THAT(error_with("rope_scaling", 40), HasSubstr("expected an object"));
}

TEST(HfConfig, RefusesNumbersThatAreNotFinite) {
  std::string text = to_json(config_tree("v3-tiny"));
  text.replace(text.find("2.5"), 3, "NaN");
  EXPECT_THAT(error_of([&] { parse_hf_config(text, "config.json"); }), HasSubstr("not valid JSON"));
  error_with("routed_scaling_factor", 1e300);
}

TEST(HfConfig, RefusesValuesOutOfRange) {
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "moe_intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_experts_per_tok", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "rms_norm_eps",
        "max_position_embeddings", "routed_scaling_factor", "moe_layer_freq", "n_group", "topk_group", "rope_theta"}) {
    error_with(key, 0);
    error_with(key, -1);
  }
  for (const char* key :
       {"num_nextn_predict_layers", "n_routed_experts", "n_shared_experts", "first_k_dense_replace", "q_lora_rank", "bos_token_id"}) {
    error_with(key, -1);
  }
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings"}) {
    error_with(key, std::int64_t{1} << 40);
  }
  EXPECT_THAT(error_with("eos_token_id", Tree::Array{1, 256}), HasSubstr("expected 0 to 255"));
}

TEST(HfConfig, RefusesFieldsThatContradictEachOther) {
  EXPECT_THAT(error_with("qk_rope_head_dim", 15), HasSubstr("even"));
  EXPECT_THAT(error_with("num_experts_per_tok", 17), HasSubstr("16"));
  EXPECT_THAT(error_with("num_experts_per_tok", 9), HasSubstr("at most 8"));
  EXPECT_THAT(error_with("n_group", 3), HasSubstr("divisor"));
  EXPECT_THAT(error_with("topk_group", 5), HasSubstr("at most n_group"));
}

TEST(HfConfig, RefusesIncompleteOrImpossibleYarn) {
  for (const char* key : {"factor", "original_max_position_embeddings"}) {
    Tree tree = config_tree("v3-tiny");
    remove_key(*tree.find("rope_scaling"), key);
    EXPECT_THAT(error_of([&] { parse(tree); }), AllOf(HasSubstr(fmt::format("rope_scaling: {}]", key)), HasSubstr("missing")));
  }
  Tree untyped = config_tree("v3-tiny");
  remove_key(*untyped.find("rope_scaling"), "type");
  EXPECT_THAT(error_of([&] { parse(untyped); }), HasSubstr("rope_scaling: type"));
  error_with_rope("factor", 0.5);
  error_with_rope("factor", 0);
  error_with_rope("beta_fast", 0.5);
  error_with_rope("mscale", -1.0);
  error_with_rope("original_max_position_embeddings", 64.0);
}

TEST(HfConfig, RefusesAFolderWithoutConfig) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { read_hf_config(folder.path()); }), HasSubstr((folder.path() / "config.json").string()));
}

TEST(HfConfig, RefusesAConfigThatIsNoJsonObject) {
  const TemporaryFolder folder;
  write_text(folder.path() / "config.json", "{\"model_type\": ");
  EXPECT_THAT(error_of([&] { read_hf_config(folder.path()); }), AllOf(HasSubstr("config.json"), HasSubstr("not valid JSON")));
  write_text(folder.path() / "config.json", "[]");
  EXPECT_THAT(error_of([&] { read_hf_config(folder.path()); }), AllOf(HasSubstr("config.json"), HasSubstr("expected an object")));
}

TEST(GenerationConfig, IsEmptyWithoutAFile) {
  const GenerationConfig config = read_generation_config(checkpoint("v3-tiny"));
  EXPECT_FALSE(config.temperature || config.top_p || config.top_k);
  EXPECT_THAT(config.eos_token_ids, IsEmpty());
}

TEST(GenerationConfig, ReadsSamplingDefaultsAndEndTokens) {
  const GenerationConfig shipped = read_generation_config(Path(MESHSEEK_SOURCE_DIR) / "models" / "tiny-shakespeare");
  EXPECT_EQ(shipped.temperature, 0.7);
  EXPECT_EQ(shipped.top_p, 0.95);
  EXPECT_FALSE(shipped.top_k.has_value());
  EXPECT_THAT(shipped.eos_token_ids, ElementsAre(1));
  const TemporaryFolder folder;
  write_text(folder.path() / "generation_config.json",
             R"({"top_k": 50, "temperature": 1, "top_p": null, "eos_token_id": [3, 4], "other": {}})");
  const GenerationConfig config = read_generation_config(folder.path());
  EXPECT_EQ(config.temperature, 1.0);
  EXPECT_EQ(config.top_k, 50);
  EXPECT_FALSE(config.top_p.has_value());
  EXPECT_THAT(config.eos_token_ids, ElementsAre(3, 4));
}

TEST(GenerationConfig, RefusesValuesOutOfRange) {
  const TemporaryFolder folder;
  for (const auto& [field, value] :
       {std::pair{"temperature", "-0.5"}, {"top_p", "1.5"}, {"top_p", "0"}, {"top_k", "-2"}, {"eos_token_id", "\"</s>\""}}) {
    write_text(folder.path() / "generation_config.json", fmt::format(R"({{"{}": {}}})", field, value));
    EXPECT_THAT(error_of([&] { read_generation_config(folder.path()); }), HasSubstr(fmt::format("generation_config.json: {}]", field)));
  }
}

}  // namespace
}  // namespace meshseek
