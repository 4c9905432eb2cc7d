#include "hf/published_models.hpp"

#include "hf/generated_tensors.hpp"
#include "hf/test_files.hpp"
#include "tensor/shape.hpp"

namespace meshseek {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

HfConfig parsed(const Tree& config) { return parse_hf_config(to_json(config), "config.json"); }

/// Billions of parameters of all generated tensors.
double billions(std::string_view name) {
  double parameters = 0.0;
  for (const GeneratedTensor& tensor : generated_tensors(parsed(published_config(name)), 0)) {
    parameters += static_cast<double>(volume(tensor.shape));
  }
  return parameters / 1e9;
}

TEST(PublishedModels, HaveTheirPublishedNumbersOfParameters) {
  EXPECT_NEAR(billions("v2-lite"), 15.7, 0.05);
  EXPECT_NEAR(billions("v2"), 235.7, 0.5);
  EXPECT_NEAR(billions("v3"), 684.5, 0.6);  // 671 and the 14 of the MTP module with its copies of embedding and head
  EXPECT_NEAR(billions("kimi-k2"), 1026.0, 2.0);
  EXPECT_NEAR(billions("moonlight"), 15.96, 0.05);
}

TEST(PublishedModels, HaveTheFieldsThatTellTheFamiliesApart) {
  const HfConfig lite = parsed(published_config("v2-lite"));
  EXPECT_EQ(lite.q_lora_rank, 0);
  EXPECT_EQ(lite.topk_method, "greedy");
  EXPECT_EQ(lite.rope.mscale_all_dim, 0.707);
  const HfConfig v2 = parsed(published_config("v2"));
  EXPECT_EQ(v2.topk_method, "group_limited_greedy");
  EXPECT_EQ(v2.routed_scaling_factor, 16.0);
  const HfConfig v3 = parsed(published_config("v3"));
  EXPECT_EQ(v3.num_nextn_predict_layers, 1);
  EXPECT_EQ(v3.first_k_dense_replace, 3);
  EXPECT_EQ(v3.rope.type, "yarn");
  EXPECT_TRUE(v3.norm_topk_prob);
  const HfConfig kimi = parsed(published_config("kimi-k2"));
  EXPECT_EQ(kimi.model_type, "kimi_k2");
  EXPECT_EQ(kimi.n_routed_experts, 384);
  EXPECT_EQ(kimi.rope.theta, 50000.0);
  const HfConfig moonlight = parsed(published_config("moonlight"));
  EXPECT_EQ(moonlight.rope.type, "default");
  EXPECT_EQ(moonlight.rms_norm_eps, 1e-5);
}

TEST(PublishedModels, AnUnknownNameListsTheKnownOnes) {
  EXPECT_EQ(published_model_names().size(), 5U);
  std::string message;
  try {
    published_config("v4");
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_THAT(message, HasSubstr("\"v4\""));
  for (const std::string_view name : published_model_names()) EXPECT_THAT(message, HasSubstr(std::string(name)));
}

TEST(PublishedModels, TheMtpModuleStaysOnlyWithAllLayers) {
  Tree config = published_config("v3");
  keep_first_layers(config, 61);
  EXPECT_EQ(config, published_config("v3"));
  keep_first_layers(config, 60);
  EXPECT_EQ(parsed(config).num_hidden_layers, 60);
  EXPECT_EQ(parsed(config).num_nextn_predict_layers, 0);
  EXPECT_THROW(keep_first_layers(config, 61), Error);
  EXPECT_THROW(keep_first_layers(config, 0), Error);
  Tree dense = published_config("v3");
  keep_first_layers(dense, 1);
  EXPECT_FALSE(parsed(dense).is_moe_layer(0));
  Tree v2 = published_config("v2");
  keep_first_layers(v2, 1);
  EXPECT_EQ(v2.find("num_nextn_predict_layers"), nullptr);
}

TEST(PublishedModels, Fp8AddsTheBlockSizeThatV3Publishes) {
  Tree config = published_config("v3");
  EXPECT_TRUE(parsed(config).weight_block_size.empty());
  set_fp8(config);
  EXPECT_EQ(parsed(config).weight_block_size, (std::vector<std::int64_t>{128, 128}));
}

}  // namespace
}  // namespace meshseek
