#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ops/binary.hpp"
#include "ops/capture.hpp"
#include "ops/linear.hpp"
#include "ops/test_tensors.hpp"

namespace meshseek {
namespace {

using namespace testing;

/// Two weights and what multiplies their results.
struct Gated {
  LinearConfig gate, up;
  MulConfig mul = {.input_tensor_a_activations = {UnaryOpType::SILU}};

  Gated(const Shape& shape, DataType dtype, MathFidelity fidelity) {
    unsigned seed = 1;
    for (LinearConfig* cfg : {&gate, &up}) {
      cfg->input_tensor_b = weight_slot(random_values(volume(shape), seed++), shape, dtype, Layout::tile);
      cfg->compute_kernel_config.math_fidelity = fidelity;
    }
  }
};

struct Kind {
  DataType dtype;
  MathFidelity fidelity;
};
const std::vector<Kind> kKinds = {{DataType::bfloat8_b, MathFidelity::LoFi},
                                  {DataType::bfloat4_b, MathFidelity::LoFi},
                                  {DataType::bfloat8_b, MathFidelity::HiFi2},
                                  {DataType::bfloat16, MathFidelity::HiFi2},
                                  {DataType::float32, MathFidelity::HiFi4}};

/// Names of the operators that a device runs.
std::vector<std::string> operators_of(Device& device, const auto& call) {
  std::vector<std::string> names;
  device.set_observer([&](const OpRecord& record) { names.emplace_back(record.op); });
  call();
  device.set_observer({});
  return names;
}

TEST(GatedLinear, HasTheBitsOfTheThreeOperators) {
  Device device(3);
  for (const auto& [dtype, fidelity] : kKinds) {
    const Gated gated({75, 70}, dtype, fidelity);
    for (const std::int64_t num_tokens : {1, 3, 8, 40}) {
      const Tensor x = random_activation({num_tokens, 70}, 3, device);
      const Tensor apart = mul(linear(x, gated.gate), linear(x, gated.up), gated.mul);
      EXPECT_EQ(bits_of(gated_linear(x, gated.gate, gated.up, gated.mul)), bits_of(apart))
          << to_string(dtype) << " " << enum_name(fidelity) << " " << num_tokens << " tokens";
    }
  }
}

TEST(GatedLinear, HasTheBitsOfTheThreeOperatorsWithTilesAndSeveralBlocksOfK) {
  Device device(2);
  for (const auto& [dtype, fidelity] : kKinds) {
    Gated gated({96, 1100}, dtype, fidelity);
    for (LinearConfig* cfg : {&gated.gate, &gated.up}) {
      MatmulProgramRule rule = matmul_program_rule(1100, device.description());
      rule.tile_rows = 1;
      rule.in0_block_w = 16;
      cfg->program_rule = rule;
    }
    for (const std::int64_t num_tokens : {1, 37, 70}) {
      const Tensor x = random_activation({num_tokens, 1100}, 4, device, DataType::bfloat16);
      const Tensor apart = mul(linear(x, gated.gate), linear(x, gated.up), gated.mul);
      EXPECT_EQ(bits_of(gated_linear(x, gated.gate, gated.up, gated.mul)), bits_of(apart))
          << to_string(dtype) << " " << enum_name(fidelity) << " " << num_tokens << " tokens";
    }
  }
}

TEST(GatedLinear, ExpertsHaveTheBitsOfTheThreeOperators) {
  Device device(2);
  const std::vector<std::int64_t> offsets = {0, 1, 1, 12, 50};  // none, a few and many rows
  for (const auto& [dtype, fidelity] : kKinds) {
    const Gated gated({4, 33, 64}, dtype, fidelity);
    const Tensor x = random_activation({50, 64}, 5, device);
    const Tensor apart = mul(grouped_linear(x, offsets, gated.gate), grouped_linear(x, offsets, gated.up), gated.mul);
    EXPECT_EQ(bits_of(grouped_gated_linear(x, offsets, gated.gate, gated.up, gated.mul)), bits_of(apart))
        << to_string(dtype) << " " << enum_name(fidelity);
  }
}

TEST(GatedLinear, IsOneOperator) {
  Device device(1);
  const Gated gated({32, 32}, DataType::bfloat8_b, MathFidelity::LoFi);
  const Tensor x = random_activation({2, 32}, 6, device);
  EXPECT_EQ(operators_of(device, [&] { gated_linear(x, gated.gate, gated.up, gated.mul); }), std::vector<std::string>{"gated_linear"});
}

TEST(GatedLinear, RunsTheOperatorsOneByOneWhereTheirConfigsDiffer) {
  Device device(1);
  const std::vector<std::string> three = {"linear", "linear", "mul"};
  const Tensor x = random_activation({2, 32}, 7, device);
  const auto run = [&](const auto& change) {
    Gated gated({32, 32}, DataType::bfloat8_b, MathFidelity::LoFi);
    change(gated);
    return operators_of(device, [&] { gated_linear(x, gated.gate, gated.up, gated.mul); });
  };
  EXPECT_EQ(run([](Gated& gated) { gated.up.compute_kernel_config.math_fidelity = MathFidelity::HiFi2; }), three);
  EXPECT_EQ(run([](Gated& gated) { gated.up.dtype = DataType::float32; }), three);
  EXPECT_EQ(run([](Gated& gated) { gated.mul.memory_config.buffer_type = BufferType::L1; }), three);
  EXPECT_EQ(run([&](Gated& gated) { gated.up.program_rule = matmul_program_rule(32, device.description()); }), three);
  EXPECT_EQ(run([](Gated& gated) { gated.gate.bias = weight_slot(std::vector<float>(32, 1.0F), {32}); }), three);
}

TEST(GatedLinear, WhoRecordsValuesSeesTheOperatorsOneByOne) {
  struct Recorder : OperatorRecorder {
    std::vector<std::string> names;
    bool with_values = true;
    bool wants_values() const override { return with_values; }
    void start(const OperatorCall& call) override { names.emplace_back(call.op); }
    void finish(const CallValues&) override {}
  };
  Device device(1);
  const Gated gated({32, 32}, DataType::bfloat8_b, MathFidelity::LoFi);
  const Tensor x = random_activation({2, 32}, 8, device);
  Recorder recorder;
  device.set_recorder(&recorder);
  gated_linear(x, gated.gate, gated.up, gated.mul);
  EXPECT_EQ(recorder.names, (std::vector<std::string>{"linear", "linear", "mul"}));
  recorder.names.clear();
  recorder.with_values = false;
  gated_linear(x, gated.gate, gated.up, gated.mul);
  EXPECT_EQ(recorder.names, std::vector<std::string>{"gated_linear"});
  device.set_recorder(nullptr);
}

}  // namespace
}  // namespace meshseek
