#include "ops/collectives.hpp"

#include "ops/test_tensors.hpp"
#include "ops/validate.hpp"

namespace meshseek {
namespace {

using namespace testing;
using ::testing::HasSubstr;

TEST(Collectives, AnAxisOfOneDeviceGivesTheInput) {
  Device device(1);
  const Tensor x = random_activation({2, 8}, 1, device);
  const auto same = [&](const Tensor& y) { return y.bytes().data() == x.bytes().data(); };
  EXPECT_TRUE(same(all_reduce(x, {.cluster_axis = 1})));
  EXPECT_TRUE(same(all_gather(x, {})));
  EXPECT_TRUE(same(reduce_scatter(x, {})));
  EXPECT_TRUE(same(all_to_all(x, {})));
  EXPECT_TRUE(same(broadcast(x, {})));
  EXPECT_TRUE(same(mesh_partition(x, {})));
  const std::vector<std::int64_t> counts = {2};
  const ReceivedRows received = all_to_all_rows(x, counts, {});
  EXPECT_TRUE(same(received.rows));
  EXPECT_EQ(received.receive_counts, counts);
  barrier(device);
}

TEST(Collectives, RefuseConfigsThatCannotBe) {
  EXPECT_THAT(message_of<ConfigError>([] { validate(AllReduceConfig{.cluster_axis = 2}, "ar"); }),
              HasSubstr("[ar.cluster_axis] 2 is no axis"));
  EXPECT_THAT(message_of<ConfigError>([] { validate(AllReduceConfig{.dtype = DataType::uint8}, "ar"); }),
              HasSubstr("[ar.dtype] uint8 cannot be on the wire"));
  EXPECT_THAT(message_of<ConfigError>([] { validate(AllReduceConfig{.num_all_gather_links = 0}, "ar"); }),
              HasSubstr("num_all_gather_links] 0 is out of range"));
  EXPECT_THAT(message_of<ConfigError>([] { validate(AllGatherConfig{.num_links = 0}, "ag"); }), HasSubstr("[ag.num_links] 0"));
  EXPECT_THAT(message_of<ConfigError>([] { validate(ReduceScatterConfig{.num_links = 65}, "rs"); }), HasSubstr("num_links] 65"));
  EXPECT_THAT(message_of<ConfigError>([] { validate(AllToAllConfig{.in_dim = -1, .out_dim = -1}, "aa"); }),
              HasSubstr("out_dim] -1 is in_dim as well"));
  EXPECT_THAT(message_of<ConfigError>([] { validate(MeshPartitionConfig{.cluster_axis = -1}, "mp"); }), HasSubstr("cluster_axis] -1"));
  EXPECT_THAT(message_of<ConfigError>([] { validate(BroadcastConfig{.root = -1}, "b"); }), HasSubstr("[b.root] -1 is no position"));
  EXPECT_THAT(message_of<ConfigError>([] { validate(RouterConfig{.n_group = 8}, "r"); }), HasSubstr("[r.n_group] 8; greedy has no groups"));
  EXPECT_THAT(message_of<ConfigError>([] { validate(RouterConfig{.topk_method = TopkMethod::noaux_tc, .topk_group = 2}, "r"); }),
              HasSubstr("[r.topk_group] 2 of one group"));
  EXPECT_THAT(message_of<ConfigError>([] { validate(RouterConfig{.e_score_correction_bias = WeightSlot{}}, "r"); }),
              HasSubstr("greedy uses none"));
}

}  // namespace
}  // namespace meshseek
