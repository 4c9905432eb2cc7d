// Capture and replay of single operators: what is written, what runs again, what is found.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "base/checksum.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "ops/binary.hpp"
#include "ops/concat.hpp"
#include "ops/linear.hpp"
#include "ops/rms_norm.hpp"
#include "ops/rotary_embedding.hpp"
#include "ops/router.hpp"
#include "stage3_run/capture_writer.hpp"
#include "stage3_run/replay.hpp"
#include "stage3_run/replay_operators.hpp"
#include "tensor/tile_layout.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// A linear operator with a bfloat8_b weight and a norm in a store, recorded by a device.
class Capture : public ::testing::Test {
 protected:
  struct Block {
    LinearConfig w1 = {};
    RmsNormConfig norm = {};
    static constexpr auto fields() { return std::tuple{field("w1", &Block::w1, ""), field("norm", &Block::norm, "")}; }
  };

  void SetUp() override {
    block_.w1.input_tensor_b.shape = {64, 32};
    block_.norm.weight.shape = {40};
    write_weight("w1", block_.w1.input_tensor_b.shape, DataType::bfloat8_b, Layout::tile);
    write_weight("norm", block_.norm.weight.shape, DataType::bfloat16, Layout::row_major);
    weights_ =
        parse_json(R"({"w1": {"input_tensor_b": {"path": "w1.tensorbin"}}, "norm": {"weight": {"path": "norm.tensorbin"}}})", "weights");
    block_.w1.program_rule = MatmulProgramRule{};
    WeightLoader loader(folder_.path(), {});
    block_ = create_run_config<Block>(to_tree(block_), weights_, "model", loader);
  }

  void write_weight(const std::string& name, const Shape& shape, DataType dtype, Layout layout) const {
    write_tensor_file(folder_.path() / (name + ".tensorbin"), shape, dtype, layout, encode(ramp(volume(shape)), shape, dtype, layout));
  }
  static std::vector<float> ramp(std::int64_t count) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (std::size_t idx = 0; idx < values.size(); ++idx) values[idx] = 0.37F * static_cast<float>((idx * 7919) % 101) - 18.0F;
    return values;
  }
  Tensor x(const Shape& shape) { return Tensor::from<float>(shape, ramp(volume(shape)), &device_); }

  /// Records what `run` does and reads it back.
  template <class Run>
  CaptureFile record(Run&& run, const std::string& name = "ops.jsonl") {
    const Path file = folder_.path() / name;
    CaptureWriter writer(file, folder_.path());
    writer.add_run_config(block_, "model", "prefill", weights_);
    device_.set_recorder(&writer);
    run();
    device_.set_recorder(nullptr);
    return CaptureFile(file);
  }
  CaptureFile record_linear() {
    return record([&] { linear(x({3, 32}), block_.w1); });
  }
  ReplayedCall replay(const CaptureFile& capture, std::int64_t index, const std::vector<std::string>& sets = {}) {
    return Replayer(capture, {}, device_).replay(index, sets, 1);
  }

  TemporaryFolder folder_;
  Tree weights_;
  Block block_;
  Device device_{2};
};

TEST_F(Capture, ACallNamesItsPlaceItsConfigAndItsWeights) {
  const CaptureFile capture = record_linear();
  ASSERT_EQ(capture.calls().size(), 1U);
  const CapturedCall& call = capture.call(0);
  EXPECT_EQ(to_string(call), "call 0 linear model.w1 (prefill)");
  EXPECT_EQ(to_json_line(call.config), to_json_line(to_tree(block_.w1)));
  ASSERT_EQ(call.weights.size(), 1U);
  EXPECT_EQ(call.weights[0].path, "w1.tensorbin");
  EXPECT_EQ(call.weights[0].dtype, DataType::bfloat8_b);
  EXPECT_EQ(call.inputs[0].shape, (Shape{3, 32}));
  EXPECT_EQ(call.outputs[0].shape, (Shape{3, 64}));
  EXPECT_EQ(capture.header().modes, std::vector<std::string>{"prefill"});
}

TEST_F(Capture, ALinearRunsAgainAloneWithEqualBits) {
  const CaptureFile capture = record_linear();
  const ReplayedCall result = replay(capture, 0);
  ASSERT_EQ(result.outputs.size(), 1U);
  EXPECT_TRUE(result.outputs[0].equal_bits);
  EXPECT_TRUE(result.is_equal());
}

TEST_F(Capture, AnotherOutputThanTheRecordedOneIsFound) {
  const CaptureFile capture = record_linear();
  Tensor other = capture.load(capture.call(0).outputs[0], device_);
  const auto values = other.mutable_data<bf16>();
  values[5] = to_bf16(to_float(values[5]) + 64.0F);
  const std::string checksum = checksum_text(checksum64(other.bytes()));
  AppendedFile(data_folder_of(capture.path()) / (checksum + ".bin")).write(other.bytes());
  std::string text = read_text_file(capture.path());
  const std::string& recorded = capture.call(0).outputs[0].checksum;
  text.replace(text.find(recorded), recorded.size(), checksum);
  std::ofstream(capture.path()) << text;
  const ReplayedCall result = replay(CaptureFile(capture.path()), 0);
  EXPECT_FALSE(result.is_equal());
  EXPECT_NEAR(result.outputs[0].difference.max_abs, 64.0, 8.0);
}

TEST_F(Capture, AChangedFieldOfTheConfigTakesEffect) {
  const CaptureFile capture = record_linear();
  const ReplayedCall exact = replay(capture, 0, {"compute_kernel_config.math_fidelity=HiFi4"});
  EXPECT_FALSE(exact.outputs[0].equal_bits);
  EXPECT_EQ(exact.outputs[0].dtype, DataType::float32);
  EXPECT_GT(exact.outputs[0].difference.rms, 0.0);
  EXPECT_LT(exact.outputs[0].difference.rms, 0.01 * exact.outputs[0].difference.rms_recorded);
  EXPECT_TRUE(replay(capture, 0, {"compute_kernel_config.math_fidelity=HiFi2"}).outputs[0].equal_bits);
  EXPECT_THAT([&] { replay(capture, 0, {"compute_kernel_config.math_fidelity=HiFi3"}); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("call 0 linear model.w1"), HasSubstr("HiFi3"))));
}

TEST_F(Capture, AnInputIsRecordedBeforeTheOperatorOverwritesIt) {
  const std::vector<double> inv_freq = {1.0, 0.1};
  const std::vector<std::int64_t> positions = {5, 6};
  const CaptureFile capture = record([&] { rotary_embedding(x({2, 3, 8}), make_rope_tables(positions, inv_freq, 1.0), {}); });
  const Tensor recorded = capture.load(capture.call(0).inputs[0], device_);
  EXPECT_EQ(to_float_vector(recorded), ramp(2 * 3 * 8));
  EXPECT_TRUE(replay(capture, 0).is_equal());
}

/// What one device of several runs between collectives.
TEST_F(Capture, OperatorsOfADeviceOfAMeshRunAgainAloneWithEqualBits) {
  const std::vector<std::int32_t> experts = {2, 0, 1, 2, 3, 1};
  const std::vector<float> shares = {0.5F, 0.25F, 1.0F, 2.0F, 0.125F, 4.0F};
  const Routing routing = {.indices = Tensor::from<std::int32_t>({3, 2}, experts, &device_),
                           .weights = Tensor::from<float>({3, 2}, shares, &device_)};
  const std::vector<std::int64_t> places = {-1, 1, 0, -1};
  const CaptureFile capture = record([&] {
    const Dispatched some = moe_dispatch_some(x({3, 16}), routing, places, 2, {});
    moe_combine(some.rows, some, routing, {});
    group_slots(routing, places, 2);
    pad_columns(x({3, 16}), 32);
    const Tensor squares = rms_norm_pre_all_gather(x({3, 16}));
    rms_norm_post_all_gather(x({3, 16}), squares, 32, block_.norm);  // the last of three pieces; half of it is padding
  });
  ASSERT_EQ(capture.calls().size(), 6U);
  for (const CapturedCall& call : capture.calls()) {
    const ReplayedCall result = replay(capture, call.index);
    EXPECT_FALSE(result.outputs.empty());
    for (const ReplayedOutput& output : result.outputs) EXPECT_TRUE(output.equal_bits) << to_string(call) << " " << output.name;
  }
}

TEST_F(Capture, OperatorsThatOperatorsCallAreNotRecorded) {
  const std::vector<std::int32_t> experts = {2, 0, 1, 2};
  const Routing routing = {.indices = Tensor::from<std::int32_t>({2, 2}, experts, &device_)};
  const std::vector<std::int64_t> rows = {1, 1, 0};
  const CaptureFile capture = record([&] {
    moe_dispatch(x({2, 16}), routing, 3, {});  // calls take_rows()
    take_rows(x({2, 16}), rows);
  });
  ASSERT_EQ(capture.calls().size(), 2U);
  EXPECT_EQ(capture.call(0).op, "moe_dispatch");
  EXPECT_EQ(capture.call(1).op, "take_rows");
  EXPECT_TRUE(replay(capture, 0).is_equal());
  EXPECT_TRUE(replay(capture, 1).is_equal());
}

TEST_F(Capture, AnOperatorThatFailsLeavesNoLineAndTheNextIsRecorded) {
  const CaptureFile capture = record([&] {
    EXPECT_THROW(linear(x({3, 31}), block_.w1), ShapeError);
    linear(x({3, 32}), block_.w1);
  });
  ASSERT_EQ(capture.calls().size(), 1U);
  EXPECT_TRUE(replay(capture, 0).is_equal());
}

TEST_F(Capture, WithoutARecorderNothingIsPrepared) {
  const Tensor input = x({1, 32});
  bool was_called = false;
  const RecordedCall call(input, "linear", block_.w1, [&](CallValues&) { was_called = true; });
  call.finish([&](CallValues&) { was_called = true; });
  EXPECT_FALSE(was_called);
}

TEST_F(Capture, AValueIsStoredOnce) {
  const CaptureFile capture = record([&] {
    linear(x({3, 32}), block_.w1);
    linear(x({3, 32}), block_.w1);
  });
  EXPECT_EQ(capture.calls().size(), 2U);
  const auto files = std::filesystem::directory_iterator(data_folder_of(capture.path()));
  EXPECT_EQ(std::distance(files, std::filesystem::directory_iterator()), 2);  // x and y
}

TEST_F(Capture, AnOldCaptureIsNotOverwritten) {
  record_linear();
  EXPECT_THAT([&] { record_linear(); }, ThrowsMessage<Error>(HasSubstr("ops.jsonl")));
}

TEST_F(Capture, TheFirstOperatorWithAnotherConfigIsNamed) {
  const auto run = [&] {
    const Tensor y = linear(x({3, 32}), block_.w1);
    binary(y, y, {});
  };
  const CaptureFile a = record(run, "a.jsonl");
  const CaptureFile same = record(run, "same.jsonl");
  EXPECT_FALSE(compare_captures(a, same).first_difference.has_value());
  EXPECT_THAT(compare_captures(a, same).config_differences, ::testing::IsEmpty());
  block_.w1.compute_kernel_config.math_fidelity = MathFidelity::LoFi;
  const CaptureComparison comparison = compare_captures(a, record(run, "b.jsonl"));
  EXPECT_THAT(comparison.first_difference.value_or(""), AllOf(HasSubstr("call 0 linear model.w1"), HasSubstr("configs differ"),
                                                              HasSubstr("output y"), HasSubstr("max abs difference")));
  EXPECT_THAT(comparison.config_differences,
              ::testing::ElementsAre(R"(model.w1 (prefill).compute_kernel_config.math_fidelity: "HiFi2" against "LoFi")"));
}

TEST_F(Capture, ChecksumsAreEnoughToCompare) {
  const CaptureFile a = record_linear();
  block_.w1.compute_kernel_config.math_fidelity = MathFidelity::LoFi;
  const CaptureFile b = record([&] { linear(x({3, 32}), block_.w1); }, "b.jsonl");
  std::filesystem::remove_all(data_folder_of(b.path()));
  const std::string difference = compare_captures(a, b).first_difference.value_or("");
  EXPECT_THAT(difference, AllOf(HasSubstr("call 0 linear model.w1"), HasSubstr("output y")));
  EXPECT_THAT(difference, ::testing::Not(HasSubstr("max abs")));
}

TEST(ValueDifference, NamesTheLargestAndKeepsNaN) {
  const std::vector<float> recorded = {3.0F, -4.0F};
  const std::vector<float> actual = {3.0F, -3.5F};
  const std::vector<float> broken = {std::nanf(""), -4.0F};
  const auto tensor = [](const std::vector<float>& values) { return Tensor::from<float>({2}, values); };
  const ValueDifference difference = value_difference(tensor(actual), tensor(recorded));
  EXPECT_DOUBLE_EQ(difference.max_abs, 0.5);
  EXPECT_DOUBLE_EQ(difference.rms, std::sqrt(0.125));
  EXPECT_DOUBLE_EQ(difference.rms_recorded, std::sqrt(12.5));
  const ReplayedOutput output = {.difference = value_difference(tensor(broken), tensor(recorded)), .tolerance = 1.0};
  EXPECT_TRUE(std::isnan(output.difference.max_abs));
  EXPECT_FALSE(output.is_equal());
}

TEST_F(Capture, AnotherInputIsNamedAsSuch) {
  const CaptureFile a = record([&] { linear(x({3, 32}), block_.w1); }, "a.jsonl");
  const CaptureFile b = record([&] { linear(x({4, 32}), block_.w1); }, "b.jsonl");
  const CaptureFile both = record(
      [&] {
        linear(x({3, 32}), block_.w1);
        linear(x({3, 32}), block_.w1);
      },
      "both.jsonl");
  EXPECT_THAT(compare_captures(a, b).first_difference.value_or(""),
              AllOf(HasSubstr("input x"), HasSubstr("[3, 32]"), HasSubstr("[4, 32]")));
  EXPECT_THAT(compare_captures(a, both).first_difference.value_or(""), HasSubstr("1 calls against 2"));
}

/// kOp of every config struct in the headers of a folder.
std::set<std::string> config_types(const Path& folder) {
  std::set<std::string> names;
  const std::regex op("kOp = \"([A-Za-z]+)\"");
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.path().string().ends_with("_config.hpp")) continue;
    const std::string text = read_text_file(entry.path());
    for (std::sregex_iterator found(text.begin(), text.end(), op), end; found != end; ++found) names.insert((*found)[1]);
  }
  return names;
}

TEST(ReplayOperators, EveryOperatorConfigHasAnEntry) {
  std::set<std::string> known;
  for (const ReplayOperator& entry : replay_operators()) known.insert(std::string(entry.config_op));
  const std::set<std::string> declared = config_types(Path(MESHSEEK_SOURCE_DIR) / "src" / "ops");
  EXPECT_GE(declared.size(), 12U);
  for (const std::string& name : declared)
    EXPECT_TRUE(known.contains(name)) << name << " needs an entry in stage3_run/replay_operators.cpp";
}

/// Names of operators whose sources record calls, by what stands there for the name.
std::set<std::string> recorded_names(const Path& folder) {
  std::set<std::string> names;
  const std::regex guard("const RecordedCall [a-z]+\\([a-z_.]+,\\s*([^,]+),");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".cpp") continue;
    const std::string text = read_text_file(entry.path());
    for (std::sregex_iterator found(text.begin(), text.end(), guard), end; found != end; ++found) names.insert((*found)[1]);
  }
  return names;
}

TEST(ReplayOperators, EveryOperatorThatIsCapturedHasAnEntry) {
  std::set<std::string> known = {"call.op"};  // a gated product: whoever wants values gets its operators one by one
  for (const ReplayOperator& entry : replay_operators()) known.insert(fmt::format("\"{}\"", entry.op));
  const std::set<std::string> recorded = recorded_names(Path(MESHSEEK_SOURCE_DIR) / "src" / "ops");
  EXPECT_GE(recorded.size(), 30U);
  for (const std::string& name : recorded)
    EXPECT_TRUE(known.contains(name)) << name << " needs an entry in stage3_run/replay_operators.cpp";
}

TEST(ReplayOperators, AnUnknownNameGetsTheNearestOne) {
  EXPECT_THAT([] { find_replay_operator("linaer", "here"); }, ThrowsMessage<Error>(HasSubstr("did you mean \"linear\"")));
}

TEST(Checksum, DependsOnEveryByteAndOnTheLength) {
  std::vector<std::byte> bytes(37, std::byte{3});
  std::set<std::uint64_t> sums = {checksum64(bytes), checksum64(std::span(bytes).first(36)), checksum64({})};
  for (std::byte& byte : bytes) {
    byte ^= std::byte{1};
    sums.insert(checksum64(bytes));
    byte ^= std::byte{1};
  }
  bytes.push_back(std::byte{0});  // padding is not content
  sums.insert(checksum64(bytes));
  EXPECT_EQ(sums.size(), 3U + 37U + 1U);
}

}  // namespace
}  // namespace meshseek
