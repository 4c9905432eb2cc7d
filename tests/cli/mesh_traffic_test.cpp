// The collectives that `plan` counts are those that the modules run: devices of one process, tiny checkpoints, every mesh.
#include "cli/mesh_traffic.hpp"

#include <gmock/gmock.h>

#include <map>

#include "tests/support/mesh_engine.hpp"

namespace meshseek::cli_test {
namespace {

using cli::Collective;
using cli::collectives_of_pass;
using cli::hop;
using cli::PassTokens;
using testing::MeshEngine;
using testing::MeshMember;

constexpr std::int64_t kPrompt = 37;
const std::string kByRouting = "all_to_all_rows";  // its rows are as the router chooses, predicted as if evenly

/// Calls, messages and bytes of one operator.
struct Sum {
  double calls = 0.0;
  double messages = 0.0;
  double bytes = 0.0;
};
using Sums = std::map<std::string, Sum>;

struct Call {
  std::string op = {};
  double messages = 0.0;
  double bytes = 0.0;
};

/// What each device did in `work`.
std::vector<std::vector<Call>> calls_in(MeshEngine& engine, const std::function<void()>& work) {
  std::vector<std::vector<Call>> calls(engine.members().size());
  engine.on_all([&](std::int64_t rank, MeshMember& member) {
    Communicator& communicator = member.device->communicator();
    communicator.set_observer([&calls, &communicator, rank, before = communicator.num_messages()](const CollectiveRecord& record) mutable {
      const double messages = static_cast<double>(communicator.num_messages() - before);
      before = communicator.num_messages();
      calls[static_cast<std::size_t>(rank)].push_back({std::string(record.op), messages, static_cast<double>(record.bytes_sent)});
    });
  });
  work();
  engine.on_all([](std::int64_t, MeshMember& member) { member.device->communicator().set_observer({}); });
  return calls;
}

/// Of each call the busiest device's.
Sums busiest(const std::vector<std::vector<Call>>& calls) {
  Sums sums;
  for (std::size_t idx = 0; idx < calls.front().size(); ++idx) {
    Call most = calls.front()[idx];
    for (const std::vector<Call>& device : calls) {
      EXPECT_EQ(device.at(idx).op, most.op);
      most.messages = std::max(most.messages, device.at(idx).messages);
      most.bytes = std::max(most.bytes, device.at(idx).bytes);
    }
    Sum& sum = sums[most.op];
    sum.calls += 1.0;
    sum.messages += most.messages;
    sum.bytes += most.bytes;
  }
  return sums;
}

Sums predicted(const std::vector<Collective>& collectives) {
  Sums sums;
  for (const Collective& one : collectives) {
    Sum& sum = sums[std::string(one.op)];
    sum.calls += one.calls;
    sum.messages += one.calls * one.messages;
    sum.bytes += one.calls * one.bytes;
  }
  return sums;
}

void expect_predicted(const Sums& actual, const Sums& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [op, sum] : actual) {
    SCOPED_TRACE(op);
    ASSERT_TRUE(expected.contains(op));
    const Sum& plan = expected.at(op);
    EXPECT_EQ(sum.calls, plan.calls);
    if (op == kByRouting) {
      EXPECT_GT(plan.bytes, 0.4 * sum.bytes);
      EXPECT_LT(plan.bytes, 1.5 * sum.bytes);
    } else {
      EXPECT_EQ(sum.messages, plan.messages);
      EXPECT_EQ(sum.bytes, plan.bytes);
    }
  }
}

std::vector<std::int64_t> prompt() {
  std::vector<std::int64_t> ids(kPrompt);
  for (std::size_t token = 0; token < ids.size(); ++token) ids[token] = static_cast<std::int64_t>(token * 13 + 5) % 83;
  return ids;
}

MeshEngine make_engine(const std::string& checkpoint, const MeshShape& mesh, bool deterministic, ParallelPlan plan = ParallelPlan::users) {
  return MeshEngine(testing::data_folder() / "checkpoints" / checkpoint, mesh,
                    {.deterministic = deterministic, .dtype = DataType::bfloat8_b, .num_threads = 1, .plan = plan});
}

class MeshTraffic : public ::testing::TestWithParam<std::tuple<std::string, bool>> {};

TEST_P(MeshTraffic, IsWhatTheModulesSend) {
  const auto& [checkpoint, deterministic] = GetParam();
  for (const MeshShape& mesh : {MeshShape{1, 2}, MeshShape{2, 1}, MeshShape{2, 2}, MeshShape{1, 3}, MeshShape{1, 4}, MeshShape{4, 2}}) {
    SCOPED_TRACE(to_string(mesh));
    MeshEngine engine = make_engine(checkpoint, mesh, deterministic);
    const HfConfig& hf = engine.hf_config();
    const Pipeline::Stage all = {.end_layer = hf.num_hidden_layers};
    const std::int64_t num_users = 2 * mesh.num_devices() + 1;
    engine.create_sequences(num_users);
    const auto prefill = calls_in(engine, [&] { engine.prefill(prompt(), 0, Model::Logits::last); });
    PassTokens tokens = {.decode = false, .of_row = ceil_div(kPrompt, mesh.rows), .ends = 1, .ends_of_others = 1};
    expect_predicted(busiest(prefill), predicted(collectives_of_pass(hf, mesh, deterministic, all, tokens)));
    std::vector<std::int64_t> users;
    for (std::int64_t user = 0; user < num_users; ++user) users.push_back(user);
    const auto decode = calls_in(engine, [&] { engine.decode(users, users); });
    const std::int64_t of_row = mesh.rows == 1 ? num_users : 2 * mesh.cols + 1;  // the last user is the first device's
    tokens = {.of_row = of_row, .ends = of_row, .ends_of_others = 2 * mesh.cols};
    expect_predicted(busiest(decode), predicted(collectives_of_pass(hf, mesh, deterministic, all, tokens)));
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, MeshTraffic,
                         ::testing::Combine(::testing::Values("v3-tiny", "v2lite-tiny", "odd-tiny"), ::testing::Bool()));

TEST(MeshTraffic, RowsOfAPipelineSendWhatIsCounted) {
  const MeshShape mesh = {.rows = 2, .cols = 2};
  MeshEngine engine = make_engine("v2lite-tiny", mesh, false, ParallelPlan::pipeline);
  const HfConfig& hf = engine.hf_config();
  engine.create_sequences(1);
  const auto calls = calls_in(engine, [&] { engine.prefill(prompt(), 0, Model::Logits::last); });
  const Pipeline pipeline(hf, {.shape = mesh, .device = {}});
  const Pipeline::Config config = Pipeline::prefill_model_config(hf, {.shape = mesh, .device = {}});
  for (std::int64_t row = 0; row < mesh.rows; ++row) {
    SCOPED_TRACE(row);
    const Pipeline::Stage stage = pipeline.stage(config, row);
    std::vector<Collective> expected =
        collectives_of_pass(hf, {.rows = 1, .cols = 2}, false, stage, {.decode = false, .of_row = kPrompt, .ends = 1});
    expected.push_back(stage.is_last ? hop(1, hf.vocab_size) : hop(kPrompt, ceil_div(hf.hidden_size, 64) * 32));
    double bytes = 0.0;
    for (const Call& call : calls[static_cast<std::size_t>(row * mesh.cols)]) bytes += call.bytes;
    double plan = 0.0;
    for (const auto& [op, sum] : predicted(expected)) plan += sum.bytes;
    EXPECT_EQ(bytes, plan);
  }
}

}  // namespace
}  // namespace meshseek::cli_test
