#include "modules/mla/mla.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "modules/decoder_block/decoder_block.hpp"
#include "tests/support/arrays.hpp"

namespace meshseek {
namespace {

HfConfig hf_of(const std::string& checkpoint) { return read_hf_config(testing::data_folder() / "checkpoints" / checkpoint); }

const char* const kFamilies[] = {"v2lite-tiny", "v2-tiny", "v3-tiny", "moonlight-tiny", "kimi-tiny", "odd-tiny"};

std::vector<Mla::Config> both_forms(const HfConfig& hf) { return {Mla::prefill_model_config(hf, {}), Mla::decode_model_config(hf, {})}; }

TEST(Traps, T12_LatentNormsUse1em6WhateverTheConfigSays) {
  HfConfig hf = hf_of("kimi-tiny");
  ASSERT_EQ(hf.rms_norm_eps, 1e-5);
  ASSERT_GT(hf.q_lora_rank, 0);
  for (const double epsilon : {1e-5, 1e-6, 1e-3}) {
    hf.rms_norm_eps = epsilon;
    for (const Mla::Config& cfg : both_forms(hf)) {
      EXPECT_EQ(cfg.q_norm.value().epsilon, 1e-6);
      EXPECT_EQ(cfg.kv_norm.epsilon, 1e-6);
    }
  }
}

TEST(Traps, T12_BlockNormsUseTheEpsilonOfTheConfig) {
  HfConfig hf = hf_of("moonlight-tiny");
  ASSERT_EQ(hf.rms_norm_eps, 1e-5);
  for (const DecoderBlock::Config& cfg :
       {DecoderBlock::prefill_model_config(hf, false, {}), DecoderBlock::decode_model_config(hf, true, {})}) {
    EXPECT_EQ(cfg.input_layernorm.epsilon, 1e-5);
    EXPECT_EQ(cfg.post_attention_layernorm.epsilon, 1e-5);
    EXPECT_EQ(cfg.mla.kv_norm.epsilon, 1e-6);
  }
}

TEST(Traps, T01_BothFormsTakeTheSoftmaxScaleWithMscaleAllDimSquared) {
  HfConfig hf = hf_of("v3-tiny");
  hf.qk_nope_head_dim = 128;
  hf.qk_rope_head_dim = 64;
  for (const Mla::Config& cfg : both_forms(hf)) EXPECT_NEAR(cfg.flash_mla.scale, 0.1352337788608801, 1e-15);
  hf.rope = {};
  for (const Mla::Config& cfg : both_forms(hf)) EXPECT_EQ(cfg.flash_mla.scale, 1.0 / std::sqrt(192.0));
}

TEST(Traps, T04_PairingIsReadFromTheConfig) {
  for (const char* family : kFamilies) {
    HfConfig hf = hf_of(family);
    for (const bool interleave : {true, false}) {
      hf.rope.interleave = interleave;
      for (const Mla::Config& cfg : both_forms(hf)) EXPECT_EQ(cfg.rope.interleaved, interleave) << family;
    }
  }
}

TEST(MlaConfig, PrefillIsNaiveAndDecodeIsAbsorbed) {
  const HfConfig hf = hf_of("v3-tiny");
  const Mla::Config prefill = Mla::prefill_model_config(hf, {});
  EXPECT_EQ(prefill.flash_mla.form, MlaForm::naive);
  EXPECT_TRUE(prefill.wkv_b1.transpose_b);
  const Mla::Config decode = Mla::decode_model_config(hf, {});
  EXPECT_EQ(decode.flash_mla.form, MlaForm::absorbed);
  EXPECT_FALSE(decode.wkv_b1.transpose_b);
  EXPECT_TRUE(decode.wkv_b2.transpose_b);
}

TEST(MlaConfig, BothFormsExpectTheSameWeightsOfEveryFamily) {
  for (const char* family : kFamilies) {
    const HfConfig hf = hf_of(family);
    for (const Mla::Config& cfg : both_forms(hf)) {
      const Shape whole = {hf.num_attention_heads * hf.qk_head_dim(), hf.q_lora_rank == 0 ? hf.hidden_size : hf.q_lora_rank};
      EXPECT_EQ((hf.q_lora_rank == 0 ? cfg.wq : cfg.wq_b).value().input_tensor_b.shape, whole) << family;
      EXPECT_EQ(cfg.wq.has_value(), hf.q_lora_rank == 0) << family;
      EXPECT_EQ(cfg.wq_a.has_value(), hf.q_lora_rank != 0) << family;
      EXPECT_EQ(cfg.wkv_a.input_tensor_b.shape, (Shape{hf.kv_lora_rank + hf.qk_rope_head_dim, hf.hidden_size})) << family;
      EXPECT_EQ(cfg.wkv_b1.input_tensor_b.shape, (Shape{hf.num_attention_heads, hf.qk_nope_head_dim, hf.kv_lora_rank})) << family;
      EXPECT_EQ(cfg.wkv_b2.input_tensor_b.shape, (Shape{hf.num_attention_heads, hf.v_head_dim, hf.kv_lora_rank})) << family;
      EXPECT_EQ(cfg.wo.input_tensor_b.shape, (Shape{hf.hidden_size, hf.num_attention_heads * hf.v_head_dim})) << family;
    }
  }
}

TEST(MlaConfig, AttentionBiasBelongsToTheProjectionsFromTheResidualStreamOnly) {
  HfConfig hf = hf_of("v3-tiny");
  hf.attention_bias = true;
  for (const Mla::Config& cfg : both_forms(hf)) {
    EXPECT_EQ(cfg.wq_a.value().bias.value().shape, (Shape{hf.q_lora_rank}));
    EXPECT_EQ(cfg.wkv_a.bias.value().shape, (Shape{hf.kv_lora_rank + hf.qk_rope_head_dim}));
    EXPECT_EQ(cfg.wo.bias.value().shape, (Shape{hf.hidden_size}));
    EXPECT_FALSE(cfg.wq_b.value().bias.has_value());
    EXPECT_FALSE(cfg.wkv_b1.bias.has_value());
    EXPECT_FALSE(cfg.wkv_b2.bias.has_value());
  }
  hf.q_lora_rank = 0;
  for (const Mla::Config& cfg : both_forms(hf)) EXPECT_FALSE(cfg.wq.value().bias.has_value());
}

}  // namespace
}  // namespace meshseek
