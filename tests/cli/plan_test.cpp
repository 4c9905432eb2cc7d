// What `plan` predicts of a mesh.
#include <gmock/gmock.h>

#include "cli/mesh_plan.hpp"
#include "hf/published_models.hpp"
#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

using cli::MeshPlan;
using cli::MeshPlanInput;

class Plan : public ProgramTest {
 protected:
  /// Runs plan with given rates, so that nothing is measured.
  Result plan(Arguments more) {
    Arguments arguments = {"plan", "--read-gb-s", "25", "--bf16-tflop-s", "0.2", "--int8-top-s", "0.8", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
};

/// Of the files of a store, the MTP module left out.
double weight_bytes(const fs::path& store) {
  double bytes = 0.0;
  for (const auto& [path, content] : files_of(store)) {
    if (path.ends_with(".tensorbin") && !path.starts_with("mtp/")) bytes += static_cast<double>(content.size());
  }
  return bytes;
}

MeshPlanInput v3(const MeshShape& mesh, std::int64_t batch) {
  MeshPlanInput input = {
      .hf = parse_hf_config(to_json(published_config("v3")), "v3"), .mesh = mesh, .hosts = mesh.num_devices(), .batch = batch};
  input.host = {.read_bytes_s = 100e9, .bf16_flop_s = 1e12, .int8_op_s = 4e12};
  input.link = {.bytes_s = 12.5e9, .latency_s = 10e-6};
  return input;
}

TEST_F(Plan, WeightsOfOneDeviceAreThoseOfTheStore) {
  const fs::path store = convert(tiny_shakespeare());
  const double bytes = weight_bytes(store);
  const Tree document = plan({tiny_shakespeare().string()}).json();
  EXPECT_NEAR(document.find("weight_bytes")->as_number("weight_bytes"), bytes, 0.05 * bytes);
}

TEST_F(Plan, ADeviceOfAMeshHoldsItsPiecesOfTheStore) {
  const fs::path store = convert(tiny_shakespeare(), "store", {"--mesh", "1x2", "--rank-local", "1-1"});
  const double bytes = weight_bytes(store);
  const Tree document =
      plan({tiny_shakespeare().string(), "--mesh", "1x2", "--hosts", "2", "--link-gbit", "25", "--link-latency-us", "20"}).json();
  EXPECT_NEAR(document.find("weight_bytes")->as_number("weight_bytes"), bytes, 0.05 * bytes);
}

TEST_F(Plan, V3HasThe671BillionParametersThatArePublished) {
  const MeshPlan alone = plan_mesh(v3({}, 1));
  EXPECT_NEAR(alone.weight_bytes / 1.0625, 671e9, 0.01 * 671e9);
  EXPECT_NEAR(alone.cache_bytes, 4096.0 * 576 * 2 * 61, 1.0);
  EXPECT_NEAR(alone.decode.read_bytes / 1.0625, 37e9, 0.03 * 37e9);  // 37 billion are active
}

TEST_F(Plan, OneDeviceSendsNothingAndMoreDevicesHoldLess) {
  const MeshPlan alone = plan_mesh(v3({}, 1));
  EXPECT_EQ(alone.decode.over_cols.bytes + alone.decode.over_rows.bytes + alone.decode.link_s, 0.0);
  const MeshPlan mesh = plan_mesh(v3({.rows = 2, .cols = 4}, 8));
  EXPECT_LT(mesh.weight_bytes, alone.weight_bytes / 7.0);
  EXPECT_GT(mesh.decode.over_cols.bytes, 0.0);
  EXPECT_GT(mesh.decode.over_rows.bytes, 0.0);
  EXPECT_GT(mesh.decode.link_s, 0.0);
}

TEST_F(Plan, ARingSendsAllButOneOfItsParts) {
  MeshPlanInput input = v3({.rows = 1, .cols = 2}, 1);
  const double two = plan_mesh(input).prefill.over_cols.bytes;
  input.mesh.cols = 4;
  input.hosts = 4;
  const double four = plan_mesh(input).prefill.over_cols.bytes;
  EXPECT_NEAR(four / two, (3.0 / 4.0) / (1.0 / 2.0), 0.02);
}

TEST_F(Plan, AFasterLinkShortensOnlyTheWaitForIt) {
  MeshPlanInput input = v3({.rows = 2, .cols = 8}, 32);
  const MeshPlan slow = plan_mesh(input);
  input.link.bytes_s *= 4.0;
  const MeshPlan fast = plan_mesh(input);
  EXPECT_EQ(fast.decode.read_s, slow.decode.read_s);
  EXPECT_LT(fast.decode.link_s, slow.decode.link_s);
  EXPECT_GT(fast.prefill.tok_s, slow.prefill.tok_s);
}

TEST_F(Plan, FurtherMessagesCostWhatIsGivenForThem) {
  MeshPlanInput input = v3({.rows = 1, .cols = 2}, 1);
  const auto link_s = [&](double message_s) {
    input.link.message_s = message_s;
    return plan_mesh(input).decode.link_s;
  };
  EXPECT_NEAR(link_s(1e-6) - link_s(0.0), 2e-6, 1e-9);  // one other device: of a command's three messages two follow the first
  input.mesh.cols = input.hosts = 4;
  const double messages = plan_mesh(input).decode.over_cols.messages;  // three in each round
  EXPECT_NEAR(link_s(1e-6) - link_s(0.0), 1e-6 * (messages * 2.0 / 3.0 + 8.0), 1e-9);
}

TEST_F(Plan, TheBusiestDeviceHasMoreThanItsShareOfTheExperts) {
  EXPECT_NEAR(cli::busiest_experts(2, 2, 2), 4.0 / 3.0, 1e-12);  // of six pairs two lie on one device
  EXPECT_NEAR(cli::busiest_experts(6, 32, 2), 3.892, 0.001);
  EXPECT_EQ(cli::busiest_experts(6, 64, 1), 6.0);
  EXPECT_NEAR(cli::busiest_experts(64, 8, 8), 8.0, 1e-9);
}

TEST_F(Plan, OfAPromptOnlyTheLastTokenGoesThroughTheLastFeedForwardBlock) {
  MeshPlanInput input = v3({}, 1);
  input.hf.num_hidden_layers = 4;  // three dense ones
  const double experts = plan_mesh(input).prefill.read_bytes;
  input.prompt = 1;
  EXPECT_EQ(plan_mesh(input).prefill.read_bytes, experts);
}

TEST_F(Plan, DeterministicDevicesSendMore) {
  MeshPlanInput input = v3({.rows = 1, .cols = 8}, 1);
  const MeshPlan standard = plan_mesh(input);
  input.deterministic = true;
  EXPECT_GT(plan_mesh(input).prefill.over_cols.bytes, 1.2 * standard.prefill.over_cols.bytes);
}

TEST_F(Plan, RowsOfAPipelineHoldPartsOfTheLayersAndWorkOneAfterTheOther) {
  const MeshPlan alone = plan_mesh(v3({}, 1));
  MeshPlanInput input = v3({.rows = 4, .cols = 1}, 1);
  input.plan = ParallelPlan::pipeline;
  const MeshPlan rows = plan_mesh(input);
  EXPECT_NEAR(rows.weight_bytes, alone.weight_bytes / 4.0, 0.1 * alone.weight_bytes / 4.0);
  EXPECT_NEAR(rows.cache_bytes, alone.cache_bytes * 16.0 / 61.0, 1.0);
  EXPECT_NEAR(rows.decode.read_bytes, alone.decode.read_bytes, 1.0);
  EXPECT_EQ(rows.decode.over_rows.bytes, 88.0 + 129280.0 * 4.0);  // the last row's logits; the others send 7168 values
  EXPECT_EQ(rows.decode.over_cols.bytes, 0.0);
  EXPECT_LT(rows.decode.tok_s, alone.decode.tok_s);
  EXPECT_GT(rows.decode.tok_s, 0.9 * alone.decode.tok_s);
}

TEST_F(Plan, ChunksOfAPromptKeepTheRowsOfAPipelineBusy) {
  MeshPlanInput one = v3({}, 1);
  MeshPlanInput input = v3({.rows = 4, .cols = 1}, 1);
  input.plan = ParallelPlan::pipeline;
  one.prompt = input.prompt = 4096;  // 8 chunks
  EXPECT_GT(plan_mesh(input).prefill.tok_s, 2.0 * plan_mesh(one).prefill.tok_s);
  one.prompt = input.prompt = 128;  // one chunk
  EXPECT_LT(plan_mesh(input).prefill.tok_s, plan_mesh(one).prefill.tok_s);
}

TEST_F(Plan, ARowOfAPipelineHoldsItsFilesOfTheStore) {
  const fs::path store = convert(tiny_shakespeare());
  const double bytes = weight_bytes(store);
  const Tree document = plan({tiny_shakespeare().string(), "--mesh", "2x1", "--plan", "pipeline"}).json();
  EXPECT_EQ(document.find("plan")->as_string("plan"), "pipeline");
  EXPECT_LT(document.find("weight_bytes")->as_number("weight_bytes"), 0.65 * bytes);
  EXPECT_GT(document.find("weight_bytes")->as_number("weight_bytes"), 0.45 * bytes);
}

TEST_F(Plan, HostsNeedLinksAndDevices) {
  expect_usage_error(plan({"--synthetic", "v2-lite", "--mesh", "1x2", "--hosts", "2"}), "give --link-gbit and --link-latency-us");
  expect_failure(plan({"--synthetic", "v2-lite", "--mesh", "1x2", "--hosts", "3", "--link-gbit", "1", "--link-latency-us", "1"}),
                 "3 hosts for 2 devices");
  expect_usage_error(plan({}), "expected a MODEL or --synthetic");
  expect_usage_error(plan({checkpoint("v3-tiny").string(), "--num-layers", "2"}), "belongs to --synthetic");
}

TEST_F(Plan, MeasuresWhatIsNotGiven) {
  const Tree document = run({"plan", "--synthetic", "v2-lite", "--mesh", "1x2", "--json"}).json();
  const Tree& rates = *document.find("rates");
  for (const char* rate : {"read_gb_s", "bf16_tflop_s", "int8_top_s", "local_gb_s", "local_latency_us"})
    EXPECT_GT(rates.find(rate)->as_number(rate), 0.0) << rate;
  EXPECT_GT(document.find("decode")->find("tok_s")->as_number("tok_s"), 0.0);
}

}  // namespace
}  // namespace meshseek::cli_test
