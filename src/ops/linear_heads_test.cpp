// Weights with one matrix per head are as many plain products, whatever the fidelity, storage, orientation and number of threads.
#include "ops/concat.hpp"
#include "ops/linear.hpp"
#include "ops/test_tensors.hpp"

namespace meshseek {
namespace {

using namespace testing;

constexpr std::int64_t kHeads = 3, kIn = 37, kOut = 45;

struct HeadsCase {
  DataType dtype = DataType::float32;
  MathFidelity fidelity = MathFidelity::HiFi4;
  bool transpose_b = true;
};

std::vector<HeadsCase> cases() {
  std::vector<HeadsCase> result;
  for (const DataType dtype : {DataType::float32, DataType::bfloat16, DataType::bfloat8_b, DataType::bfloat4_b}) {
    for (const MathFidelity fidelity : {MathFidelity::HiFi4, MathFidelity::HiFi2, MathFidelity::LoFi}) {
      if (fidelity == MathFidelity::LoFi && !is_block_float(dtype)) continue;
      for (const bool transpose_b : {true, false}) result.push_back({dtype, fidelity, transpose_b});
    }
  }
  return result;
}

LinearConfig config_of(const HeadsCase& one, std::span<const float> values, const Shape& shape) {
  LinearConfig cfg;
  cfg.input_tensor_b = weight_slot(values, shape, one.dtype, Layout::tile);
  cfg.transpose_b = one.transpose_b;
  cfg.dtype = DataType::float32;
  cfg.compute_kernel_config.math_fidelity = one.fidelity;
  cfg.bias = weight_slot(random_values(kOut, 3), {kOut});
  return cfg;
}

/// Head `head` of x [T, heads, dim] as [T, dim].
Tensor head_of(const Tensor& x, std::int64_t head) {
  const std::int64_t dim = x.dim(2);
  return slice_columns(x.reshape({x.dim(0), x.dim(1) * dim}), head * dim, (head + 1) * dim);
}

TEST(LinearHeads, EachHeadHasTheBitsOfItsOwnLinear) {
  const std::vector<float> values = random_values(kHeads * kIn * kOut, 1);
  for (const HeadsCase& one : cases()) {
    const Shape matrix = one.transpose_b ? Shape{kOut, kIn} : Shape{kIn, kOut};
    const LinearConfig cfg = config_of(one, values, {kHeads, matrix[0], matrix[1]});
    for (const std::size_t num_threads : {1U, 2U, 3U}) {
      Device device(num_threads);
      for (const std::int64_t num_tokens : {1, 2, 5, 33}) {
        for (const std::int64_t x_heads : {kHeads, std::int64_t{1}}) {
          const Tensor x = random_activation({num_tokens, x_heads, kIn}, 2, device);
          const Tensor y = linear(x, cfg);
          ASSERT_EQ(y.shape(), (Shape{num_tokens, kHeads, kOut}));
          for (std::int64_t head = 0; head < kHeads; ++head) {
            const auto weight = std::span(values).subspan(static_cast<std::size_t>(head * kIn * kOut), kIn * kOut);
            const Tensor alone = linear(head_of(x, head % x_heads), config_of(one, weight, matrix));
            ASSERT_EQ(bits_of(head_of(y, head)), bits_of(alone)) << to_string(one.dtype) << " " << enum_name(one.fidelity) << " head "
                                                                 << head << " of x with " << x_heads << ", threads " << num_threads;
          }
        }
      }
    }
  }
}

TEST(LinearHeads, HeadsDoNotSeeEachOthersActivationsOrWeights) {
  Device device(2);
  for (const HeadsCase& one : cases()) {
    const Shape shape = one.transpose_b ? Shape{kHeads, kOut, kIn} : Shape{kHeads, kIn, kOut};
    std::vector<float> values = random_values(kHeads * kIn * kOut, 1);
    std::vector<float> x = random_values(4 * kHeads * kIn, 2);
    const Tensor before = linear(activation(x, {4, kHeads, kIn}, device), config_of(one, values, shape));
    std::fill_n(values.begin() + kIn * kOut, kIn * kOut, 5.0F);  // of head 1
    for (std::size_t token = 0; token < 4; ++token)
      std::fill_n(x.begin() + static_cast<std::ptrdiff_t>(token * kHeads + 1) * kIn, kIn, 1e6F);
    const Tensor after = linear(activation(x, {4, kHeads, kIn}, device), config_of(one, values, shape));
    for (const std::int64_t head : {0, 2}) EXPECT_EQ(bits_of(head_of(after, head)), bits_of(head_of(before, head)));
    EXPECT_NE(bits_of(head_of(after, 1)), bits_of(head_of(before, 1)));
  }
}

}  // namespace
}  // namespace meshseek
