// `meshseek bench`: it measures, and what it says adds up.
#include <gmock/gmock.h>

#include <algorithm>
#include <set>
#include <string>

#include "hf/hf_config.hpp"
#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

class Bench : public ProgramTest {};

TEST_F(Bench, ConvertMeasuresAgainstDiskAndMemoryAndLeavesNothing) {
  const std::string out = (folder() / "bench").string();
  const Tree result = run({"bench", "convert", "--out", out, "--size", "32", "--reps", "2", "--threads", "2", "--json"}).json();
  const auto rate = [&](const char* name) { return result.find(name)->find("median")->as_number(name); };
  const double limit = std::min(rate("write_bytes_per_s"), rate("memcpy_bytes_per_s") / 3.0);
  EXPECT_GT(rate("convert_bytes_per_s"), 0.0);
  EXPECT_DOUBLE_EQ(result.find("limit_bytes_per_s")->as_number(""), limit);
  EXPECT_DOUBLE_EQ(result.find("share")->as_number(""), rate("convert_bytes_per_s") / limit);
  EXPECT_EQ(result.find("threads")->as_integer(""), 2);
  EXPECT_TRUE(fs::is_empty(out));
  const Result table = run({"bench", "convert", "--out", out, "--size", "16", "--reps", "1"});
  EXPECT_THAT(table.out, ::testing::HasSubstr("share "));
}

/// The one row of a model's bench.
Tree row_of(const Tree& report, std::size_t idx = 0) { return report.find("rows")->as_array("rows").at(idx); }
double number(const Tree& tree, const char* name) { return tree.find(name)->as_number(name); }

TEST_F(Bench, RowsAreConsistentWithEachOtherAndWithTheModel) {
  const std::string model = checkpoint("v2lite-tiny").string();
  const Tree report = run({"bench", model, "--calibration-size", "8", "--pp", "16", "--tg", "4", "--depth", "0,8", "--reps", "2",
                           "--threads", "2", "--json"})
                          .json();
  ASSERT_EQ(report.find("rows")->as_array("rows").size(), 3U);
  EXPECT_EQ(row_of(report, 0).find("test")->as_string(""), "pp16");
  EXPECT_EQ(row_of(report, 1).find("test")->as_string(""), "tg4");
  EXPECT_EQ(row_of(report, 2).find("test")->as_string(""), "tg4@8");
  for (std::size_t idx = 0; idx < 3; ++idx) {
    const Tree row = row_of(report, idx);
    const double tok_s = number(row, "tok_s");
    EXPECT_DOUBLE_EQ(number(row, "gb_s"), tok_s * number(row, "bytes_per_token") / 1e9);
    EXPECT_DOUBLE_EQ(number(row, "tflop_s"), tok_s * number(row, "flop_per_token") / 1e12);
    const double memory = number(row, "gb_s") / number(row, "read_gb_s");
    const double int8_flop = number(row, "int8_flop_per_token");
    const double bf16_flop = number(row, "bf16_flop_per_token");
    const double int16_flop = number(row, "int16_flop_per_token");
    const double int16_s = int16_flop > 0.0 ? int16_flop / number(row, "int16_top_s") : 0.0;
    const double fp32_flop = number(row, "flop_per_token") - int8_flop - int16_flop - bf16_flop;
    const double compute = tok_s / 1e12 *
                           (fp32_flop / number(row, "fp32_tflop_s") + bf16_flop / number(row, "bf16_tflop_s") + int16_s +
                            int8_flop / number(row, "int8_top_s"));
    EXPECT_GT(bf16_flop, 0.0) << "standard attention is HiFi2";
    EXPECT_GT(fp32_flop, 0.0) << "routers are HiFi4";
    EXPECT_NEAR(number(row, "share"), std::max(memory, compute), 1e-9);
    EXPECT_GT(int8_flop + int16_flop, 0.0) << "standard feed-forward blocks are LoFi; without panels of int8 that is int16";
    EXPECT_LT(int8_flop + int16_flop, number(row, "flop_per_token"));
    EXPECT_EQ(row.find("limit")->as_string(""), memory >= compute ? "memory" : "compute");
  }
  EXPECT_GT(number(row_of(report, 2), "bytes_per_token"), number(row_of(report, 1), "bytes_per_token")) << "the cache is read";
  EXPECT_EQ(report.find("machine")->find("threads")->as_integer(""), 2);
  EXPECT_GT(number(report, "peak_rss_bytes"), number(report, "calibration_bytes"));
}

/// What has no integer activations is measured against float32.
TEST_F(Bench, ComputeTimeFollowsTheFidelity) {
  const std::string model = checkpoint("v2lite-tiny").string();
  const Arguments common = {"--calibration-size", "8", "--pp", "16", "--tg", "0", "--reps", "1", "--json"};
  const auto bench = [&](const Arguments& more) {
    Arguments arguments = {"bench", model};
    arguments.insert(arguments.end(), common.begin(), common.end());
    arguments.insert(arguments.end(), more.begin(), more.end());
    return row_of(run(arguments).json());
  };
  const Tree lofi = bench({});
  const Tree floats = bench({"--dtype", "float32"});
  EXPECT_GT(number(lofi, "int8_flop_per_token") + number(lofi, "int16_flop_per_token"), 0.0);
  EXPECT_EQ(number(floats, "int8_flop_per_token"), 0.0);
  EXPECT_EQ(number(floats, "int16_flop_per_token"), 0.0);
  EXPECT_EQ(number(floats, "bf16_flop_per_token"), 0.0);
  EXPECT_DOUBLE_EQ(number(floats, "flop_per_token"), number(lofi, "flop_per_token"));
}

/// One token visits num_experts_per_tok different experts in each MoE layer; many tokens at most all. The last layer's block sees the last token alone.
TEST_F(Bench, ExpertsThatWereTouchedAreCounted) {
  const Path model = checkpoint("v2lite-tiny");
  const HfConfig hf = read_hf_config(model);
  std::int64_t moe_layers = 0;
  for (std::int64_t layer = 0; layer < hf.num_hidden_layers; ++layer) moe_layers += hf.is_moe_layer(layer) ? 1 : 0;
  const Tree report =
      run({"bench", model.string(), "--calibration-size", "8", "--pp", "1,200", "--tg", "3", "--reps", "1", "--json"}).json();
  EXPECT_EQ(number(row_of(report, 0), "experts_touched"), moe_layers * hf.num_experts_per_tok);
  EXPECT_EQ(number(row_of(report, 1), "experts_touched"), (moe_layers - 1) * hf.n_routed_experts + hf.num_experts_per_tok)
      << "200 random tokens visit all of so few";
  EXPECT_EQ(number(row_of(report, 2), "experts_touched"), moe_layers * hf.num_experts_per_tok);
}

/// A batch visits more experts than one token, and reads everything else once for all its sequences.
TEST_F(Bench, BatchesShareWhatTheyRead) {
  const Path model = checkpoint("v2lite-tiny");
  const Tree report = run({"bench", model.string(), "--calibration-size", "8", "--pp", "0", "--tg", "3", "--depth", "0,20", "--batch",
                           "1,6", "--reps", "1", "--json"})
                          .json();
  ASSERT_EQ(report.find("rows")->as_array("rows").size(), 4U);
  for (const std::size_t first : {std::size_t{0}, std::size_t{2}}) {
    const Tree alone = row_of(report, first), batch = row_of(report, first + 1);
    EXPECT_EQ(alone.find("batch")->as_integer(""), 1);
    EXPECT_EQ(batch.find("batch")->as_integer(""), 6);
    EXPECT_EQ(batch.find("test")->as_string(""), alone.find("test")->as_string(""));
    EXPECT_LT(number(batch, "bytes_per_token"), number(alone, "bytes_per_token"));
    EXPECT_GT(number(batch, "bytes_per_token"), number(alone, "bytes_per_token") / 6.0);
    EXPECT_NEAR(number(batch, "flop_per_token"), number(alone, "flop_per_token"), 1e-6 * number(alone, "flop_per_token"));
    EXPECT_GT(number(batch, "experts_touched"), number(alone, "experts_touched"));
    EXPECT_LE(number(batch, "experts_touched"), 6.0 * number(alone, "experts_touched"));
  }
}

/// Its users are on both rows, so that their routing comes back in another order than theirs.
TEST_F(Bench, ABatchOnSeveralRowsIsMeasured) {
  const Tree report = run({"bench", checkpoint("v2lite-tiny").string(), "--mesh", "2x1", "--threads", "1", "--calibration-size", "8",
                           "--pp", "0", "--tg", "2", "--depth", "5", "--batch", "5", "--reps", "1", "--json"})
                          .json();
  EXPECT_GT(number(row_of(report), "tok_s"), 0.0);
  EXPECT_GT(number(row_of(report), "experts_touched"), 0.0);
}

TEST_F(Bench, TheBreakdownAddsUpToThePass) {
  const Tree report = run({"bench", checkpoint("v3-tiny").string(), "--calibration-size", "8", "--pp", "64", "--tg", "8", "--reps", "1",
                           "--breakdown", "--json"})
                          .json();
  for (std::size_t idx = 0; idx < 2; ++idx) {
    const Tree row = row_of(report, idx);
    double sum = 0.0, other = -1.0;
    std::set<std::string> names;
    for (const Tree& op : row.find("breakdown")->as_array("")) {
      sum += number(op, "seconds");
      names.insert(op.find("operator")->as_string(""));
      if (op.find("operator")->as_string("").starts_with("other")) other = number(op, "seconds");
    }
    EXPECT_NEAR(sum, number(row, "wall_s"), 1e-9);
    EXPECT_GE(other, 0.0);
    EXPECT_TRUE(names.contains("lm_head (linear)"));
    EXPECT_TRUE(names.contains("moe.experts.w1 (grouped_gated_linear)"));
  }
  const Result table = run(
      {"bench", checkpoint("v3-tiny").string(), "--calibration-size", "8", "--pp", "8", "--tg", "0", "--reps", "1", "--breakdown", "--md"});
  EXPECT_THAT(table.out, ::testing::HasSubstr("| pp8 "));
  EXPECT_THAT(table.out, ::testing::HasSubstr("other (between operators)"));
}

TEST_F(Bench, WhatCannotBeMeasuredIsRefused) {
  expect_failure(run({"bench", (folder() / "luck").string()}), "there is no such folder");
  const std::string model = checkpoint("v3-tiny").string();
  expect_usage_error(run({"bench", model, "--batch", "0"}), "--batch");
  expect_usage_error(run({"bench", model, "--pp", "0", "--tg", "0"}), "nothing to measure");
  expect_usage_error(run({"bench", model, "--pp", "-3"}), "-3");
  expect_usage_error(run({"bench", model, "--num-layers", "2"}), "[--num-layers]");
  expect_usage_error(run({"bench", model, "--synthetic", "v3"}), "not both");
  expect_usage_error(run({"bench", "--synthetic", "v9"}), "v2-lite");
  expect_usage_error(run({"bench", "--synthetic", "v2-lite", "--num-layers", "99"}), "99");
}

}  // namespace
}  // namespace meshseek::cli_test
