#include "ops/flash_mla.hpp"
#include "ops/test_tensors.hpp"

namespace meshseek {
namespace {

using namespace testing;
using ::testing::ElementsAre;

constexpr std::int64_t kRank = 2, kRope = 1;

LatentCache empty_cache(std::int64_t capacity, DataType dtype, Device& device) {
  return {.rows = Tensor::zeros({capacity, kRank + kRope}, dtype, &device), .kv_lora_rank = kRank};
}

TEST(LatentCache, KeepsTheLatentThenTheSharedKeyOfEachToken) {
  Device device(1);
  LatentCache cache = empty_cache(4, DataType::float32, device);
  update_cache(cache, activation(std::vector<float>{1, 2, 3, 4}, {2, 2}, device), activation(std::vector<float>{-1, -2}, {2, 1, 1}, device),
               {.dtype = DataType::float32});
  update_cache(cache, activation(std::vector<float>{5, 6}, {1, 2}, device), activation(std::vector<float>{-3}, {1, 1, 1}, device),
               {.dtype = DataType::float32});
  EXPECT_EQ(cache.num_tokens, 3);
  EXPECT_THAT(to_float_vector(cache.rows.slice_rows(0, 3)), ElementsAre(1, 2, -1, 3, 4, -2, 5, 6, -3));
  const Tensor latents = cached_latents(cache, DataType::bfloat16);
  EXPECT_EQ(latents.shape(), (Shape{3, 1, 2}));
  EXPECT_EQ(latents.dtype(), DataType::bfloat16);
  EXPECT_THAT(to_float_vector(latents), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(LatentCache, RoundsToItsType) {
  Device device(1);
  LatentCache cache = empty_cache(1, DataType::bfloat16, device);
  update_cache(cache, activation(std::vector<float>{257.0F, 1.0F}, {1, 2}, device),
               activation(std::vector<float>{259.0F}, {1, 1, 1}, device), {});
  EXPECT_THAT(to_float_vector(cache.rows), ElementsAre(256.0F, 1.0F, 260.0F));  // ties to even
}

TEST(LatentCache, RefusesMoreTokensThanItHoldsAndKeepsWhatItHas) {
  Device device(1);
  LatentCache cache = empty_cache(3, DataType::bfloat16, device);
  const Tensor c_kv = random_activation({2, kRank}, 1, device);
  const Tensor k_rope = random_activation({2, 1, kRope}, 2, device);
  update_cache(cache, c_kv, k_rope, {});
  const std::vector<std::byte> before = bits_of(cache.rows);
  EXPECT_EQ(message_of([&] { update_cache(cache, c_kv, k_rope, {}); }), "[update_cache] the cache holds 3 tokens; 2 and 2 more do not fit");
  EXPECT_EQ(cache.num_tokens, 2);
  EXPECT_EQ(bits_of(cache.rows), before);
}

TEST(LatentCache, RefusesShapesAndTypesOfAnotherModel) {
  Device device(1);
  LatentCache cache = empty_cache(3, DataType::bfloat16, device);
  EXPECT_EQ(message_of<ShapeError>(
                [&] { update_cache(cache, random_activation({1, 3}, 1, device), random_activation({1, 1, 1}, 1, device), {}); }),
            "[update_cache] c_kv is [1, 3] and k_rope [1, 1, 1]; the cache holds 2 + 1 values a token");
  EXPECT_EQ(message_of<ShapeError>(
                [&] { update_cache(cache, random_activation({1, 2}, 1, device), random_activation({1, 1, 2}, 1, device), {}); }),
            "[update_cache] c_kv is [1, 2] and k_rope [1, 1, 2]; the cache holds 2 + 1 values a token");
  EXPECT_EQ(message_of<ConfigError>([&] {
              update_cache(cache, random_activation({1, 2}, 1, device), random_activation({1, 1, 1}, 1, device),
                           {.dtype = DataType::float32});
            }),
            "[update_cache] the config says float32 but the cache is bfloat16; prefill and decode configs must agree");
  LatentCache none;
  EXPECT_EQ(message_of<ShapeError>(
                [&] { update_cache(none, random_activation({1, 2}, 1, device), random_activation({1, 1, 1}, 1, device), {}); }),
            "[update_cache] the cache is []; expected [capacity, values]");
}

}  // namespace
}  // namespace meshseek
