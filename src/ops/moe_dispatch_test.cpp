#include <cmath>

#include "ops/router.hpp"
#include "ops/test_tensors.hpp"

namespace meshseek {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Routing routing_of(const std::vector<std::int32_t>& indices, const std::vector<float>& weights, std::int64_t k, Device& device) {
  const Shape shape = {static_cast<std::int64_t>(indices.size()) / k, k};
  return {Tensor::from<std::int32_t>(shape, indices, &device), Tensor::from<float>(shape, weights, &device)};
}

TEST(MoeDispatch, GroupsRowsByExpertInTheOrderOfTokens) {
  Device device(1);
  const Tensor x = activation(std::vector<float>{0.0F, 1.0F, 2.0F}, {3, 1}, device);
  const Routing routing = routing_of({3, 1, 1, 0, 3, 0}, std::vector<float>(6, 1.0F), 2, device);
  const Dispatched result = moe_dispatch(x, routing, 5, {});
  EXPECT_THAT(result.offsets, ElementsAre(0, 2, 4, 4, 6, 6));
  EXPECT_THAT(result.slots, ElementsAre(3, 5, 1, 2, 0, 4));
  EXPECT_THAT(to_float_vector(result.rows), ElementsAre(1.0F, 2.0F, 0.0F, 1.0F, 0.0F, 2.0F));
}

TEST(MoeDispatch, LeavesOutExpertsThatHaveNoPlaceAndCombineLeavesOutTheirTerms) {
  Device device(1);
  const Tensor x = activation(std::vector<float>{1.0F, 2.0F, 3.0F}, {3, 1}, device);
  const Routing routing = routing_of({3, 1, 1, 0, 3, 0}, {1.0F, 10.0F, 100.0F, 1e3F, 1e4F, 1e5F}, 2, device);
  const std::vector<std::int64_t> places = {-1, 2, 1, 0};
  const Dispatched result = moe_dispatch_some(x, routing, places, 3, {});
  EXPECT_THAT(result.offsets, ElementsAre(0, 2, 2, 4));
  EXPECT_THAT(result.slots, ElementsAre(0, 4, 1, 2));
  EXPECT_THAT(to_float_vector(result.rows), ElementsAre(1.0F, 3.0F, 1.0F, 2.0F));
  EXPECT_THAT(to_float_vector(moe_combine(result.rows, result, routing, {})), ElementsAre(11.0F, 200.0F, 3e4F));
  const Dispatched slots = group_slots(routing, places, 3);
  EXPECT_EQ(slots.slots, result.slots);
  EXPECT_EQ(slots.offsets, result.offsets);
  const std::vector<std::int64_t> none = {-1, -1, -1, -1};
  const Dispatched nothing = moe_dispatch_some(x, routing, none, 1, {});
  EXPECT_EQ(nothing.rows.shape(), (Shape{0, 1}));
  EXPECT_THAT(to_float_vector(moe_combine(nothing.rows, nothing, routing, {})), ElementsAre(0.0F, 0.0F, 0.0F));
}

TEST(MoeDispatch, RefusesAPlaceBeyondTheGroupsAndAnExpertWithoutOne) {
  Device device(1);
  const Tensor x = activation(std::vector<float>{1.0F}, {1, 1}, device);
  const Routing routing = routing_of({1}, {1.0F}, 1, device);
  const std::vector<std::int64_t> places = {0, 3};
  EXPECT_THAT(message_of([&] { moe_dispatch_some(x, routing, places, 3, {}); }), HasSubstr("expert 1 is group 3 of 3; expected fewer"));
  EXPECT_THAT(message_of([&] { moe_dispatch_some(x, routing, std::span(places).first(1), 3, {}); }),
              HasSubstr("expert 1 does not exist; expected 0 to 0"));
}

TEST(MoeCombine, AddsTheWeightedRowsOfATokenInTheOrderOfItsExperts) {
  Device device(2);
  constexpr std::int64_t kTokens = 37, kK = 3, kExperts = 6, kHidden = 21;
  const Tensor x = random_activation({kTokens, kHidden}, 1, device);
  std::vector<std::int32_t> indices;
  for (std::int32_t token = 0; token < kTokens; ++token) {
    for (std::int32_t slot = 0; slot < kK; ++slot) indices.push_back((token * 5 + slot * (1 + token % 2)) % kExperts);
  }
  const std::vector<float> weights = random_values(kTokens * kK, 2);
  const Routing routing = routing_of(indices, weights, kK, device);
  Dispatched dispatched = moe_dispatch(x, routing, kExperts, {});
  auto rows = dispatched.rows.mutable_data<float>();  // expert e multiplies by e + 1
  for (std::size_t expert = 0; expert < kExperts; ++expert) {
    for (auto idx = dispatched.offsets[expert] * kHidden; idx < dispatched.offsets[expert + 1] * kHidden; ++idx) {
      rows[static_cast<std::size_t>(idx)] *= static_cast<float>(expert + 1);
    }
  }
  for (const DataType dtype : {DataType::float32, DataType::bfloat16}) {
    const std::vector<float> y = to_float_vector(moe_combine(dispatched.rows, dispatched, routing, {.dtype = dtype}));
    for (std::size_t idx = 0; idx < y.size(); ++idx) {
      const std::size_t token = idx / kHidden;
      double expected = 0.0;
      double magnitude = 0.0;
      for (std::size_t slot = token * kK; slot < (token + 1) * kK; ++slot) {
        const double term = double{weights[slot]} * (indices[slot] + 1) * double{x.data<float>()[idx]};
        expected += term;
        magnitude += std::abs(term);
      }
      EXPECT_NEAR(y[idx], expected, dtype == DataType::float32 ? 3e-7 * magnitude : 0x1p-8 * std::abs(expected) + 3e-7 * magnitude);
    }
  }
}

TEST(MoeDispatch, RefusesExpertsAndShapesThatDoNotExist) {
  Device device(1);
  const Tensor x = random_activation({2, 4}, 1, device);
  const std::vector<float> weights(2, 1.0F);
  EXPECT_EQ(message_of([&] {
              moe_dispatch(x, routing_of({0, 5}, weights, 1, device), 5, {});
            }),
            "[moe_dispatch] expert 5 does not exist; expected 0 to 4");
  EXPECT_EQ(message_of([&] {
              moe_dispatch(x, routing_of({0, -1}, weights, 1, device), 5, {});
            }),
            "[moe_dispatch] expert -1 does not exist; expected 0 to 4");
  EXPECT_EQ(message_of<ShapeError>([&] {
              moe_dispatch(x, routing_of({0, 1}, weights, 2, device), 5, {});
            }),
            "[moe_dispatch] x is [2, 4] but the routing [1, 2]; expected one row of experts for each token");
  const Routing routing = routing_of({0, 1}, weights, 1, device);
  const Dispatched dispatched = moe_dispatch(x, routing, 5, {});
  EXPECT_EQ(message_of<ShapeError>([&] {
              moe_combine(random_activation({3, 4}, 1, device), dispatched, routing, {});
            }),
            "[moe_combine] rows are [3, 4] but the routing [2, 1]; expected at most tokens times experts a token");
}

}  // namespace
}  // namespace meshseek
