#include "ops/topk.hpp"

#include <limits>

#include "ops/test_tensors.hpp"

namespace meshseek {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<float> values_of(const TopK& result) { return to_float_vector(result.values); }
std::vector<std::int32_t> indices_of(const TopK& result) {
  const auto data = result.indices.data<std::int32_t>();
  return {data.begin(), data.end()};
}

TEST(TopKOperator, FindsTheBestOfEachRowTiesByLowerPlace) {
  Device device(1);
  const Tensor x = activation(std::vector<float>{1, 5, 3, 5, -2, 0, -7, 0}, {2, 4}, device);
  const TopK largest = topk(x, {.k = 3});
  EXPECT_THAT(values_of(largest), ElementsAre(5, 5, 3, 0, 0, -2));
  EXPECT_THAT(indices_of(largest), ElementsAre(1, 3, 2, 1, 3, 0));
  EXPECT_THAT(indices_of(topk(x, {.k = 2, .largest = false})), ElementsAre(0, 2, 2, 0));
  EXPECT_THAT(indices_of(topk(x, {.k = 3, .sorted = false})), ElementsAre(1, 2, 3, 0, 1, 3));
}

TEST(TopKOperator, RefusesWhatHasNoAnswer) {
  Device device(1);
  const Tensor x = activation(std::vector<float>{1, std::numeric_limits<float>::quiet_NaN()}, {1, 2}, device);
  EXPECT_THAT(message_of([&] { topk(x, {.k = 1}); }), HasSubstr("row 0 holds NaN"));
  EXPECT_THAT(message_of<ShapeError>([&] { topk(x, {.k = 3}); }), HasSubstr("k is 3 but x is [1, 2]"));
  EXPECT_THAT(message_of<ConfigError>([&] { topk(x, {.k = 0}); }), HasSubstr("[topk.k] 0"));
  EXPECT_THAT(message_of<ConfigError>([&] { topk(x, {.dim = 0}); }), HasSubstr("[topk.dim] 0"));
}

}  // namespace
}  // namespace meshseek
