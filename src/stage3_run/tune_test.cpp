// The overlay of a search, whatever the search found.
#include "stage3_run/tune.hpp"

#include <gtest/gtest.h>

#include "stage2_configure/configure.hpp"
#include "tests/support/arrays.hpp"

namespace meshseek {
namespace {

TunedLinear tuned(std::vector<std::int64_t> layers, const std::string& name, std::vector<ProgramChange> changes) {
  TunedLinear linear;
  linear.layers = std::move(layers);
  linear.name = name;
  linear.changes = std::move(changes);
  return linear;
}

ProgramChange rule_change(const std::string& field, std::int64_t after) {
  return {.program = "program_rule", .field = field, .before = 1, .after = after};
}

TEST(TuneOverlay, HoldsTheChangedFieldsOfAllLayersOfAKindInRanges) {
  const Tree overlay =
      overlay_of(Mode::prefill, {tuned({0}, "mlp.w1", {rule_change("out_subblock_h", 2)}),
                                 tuned({1, 2, 4}, "mla.wo", {rule_change("in0_block_w", 3), rule_change("out_subblock_h", 4)}),
                                 tuned({1, 2, 4}, "moe.experts.w2", {rule_change("out_subblock_w", 4)}), tuned({3}, "mla.wo", {})});
  EXPECT_EQ(overlay, parse_json(R"({"mode": "prefill", "model": {"layers": {
    "0": {"mlp": {"w1": {"program_rule": {"out_subblock_h": 2}}}},
    "1-2": {"mla": {"wo": {"program_rule": {"in0_block_w": 3, "out_subblock_h": 4}}},
            "moe": {"experts": {"w2": {"program_rule": {"out_subblock_w": 4}}}}},
    "4": {"mla": {"wo": {"program_rule": {"in0_block_w": 3, "out_subblock_h": 4}}},
          "moe": {"experts": {"w2": {"program_rule": {"out_subblock_w": 4}}}}}}}})",
                                "expected"));
}

TEST(TuneOverlay, WithoutChangesHasNoLayers) {
  EXPECT_EQ(overlay_of(Mode::decode, {tuned({0}, "mla.wo", {})}), parse_json(R"({"mode": "decode", "model": {}})", "expected"));
}

TEST(TuneOverlay, ChangesWhatItSaysAndNothingElse) {
  const HfConfig hf = read_hf_config(testing::data_folder() / "checkpoints" / "v3-tiny");
  const Tree overlay = overlay_of(Mode::decode, {tuned({1, 2}, "mla.wo", {{"program_config", "in0_block_w", 4, 1}})});
  const Tree changed = make_model_config(hf, {.mode = Mode::decode, .overlays = {{.tree = overlay, .name = "overlay"}}});
  EXPECT_EQ(changed, make_model_config(hf, {.mode = Mode::decode,
                                            .sets = {"model.layers.1.mla.wo.program_config.in0_block_w=1",
                                                     "model.layers.2.mla.wo.program_config.in0_block_w=1"}}));
  EXPECT_NE(changed, make_model_config(hf, {.mode = Mode::decode}));
}

TEST(TuneOverlay, ThePathOfAKindNamesItsLayersInRanges) {
  EXPECT_EQ(tuned({0}, "mlp.w1", {}).path(), "model.layers.0.mlp.w1");
  EXPECT_EQ(tuned({1, 2, 3, 5}, "mla.wo", {}).path(), "model.layers.1-3,5.mla.wo");
}

}  // namespace
}  // namespace meshseek
