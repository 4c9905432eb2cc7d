// What the processes of a mesh compare before they load.
#include "stage3_run/run_facts.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/changed_checkpoint.hpp"
#include "tests/support/engine.hpp"

namespace meshseek {
namespace {

constexpr MeshShape kMesh = {.rows = 1, .cols = 2};

class RunFacts : public ::testing::Test {
 protected:
  Path checkpoint() const { return testing::data_folder() / "checkpoints" / "v2lite-tiny"; }
  Path store(const std::string& name, const Path& source, const LocalRanks& local = {}) {
    const Path path = folder_.path() / name;
    convert_checkpoint(source, path, {.mesh = kMesh, .local = local});
    return path;
  }
  std::vector<Fact> facts_of(const Path& store, std::vector<std::string> decode_sets = {}) const {
    const auto configure = [&](Mode mode, std::vector<std::string> sets) {
      return make_model_config(read_hf_config(store), {.mode = mode, .mesh = {.shape = kMesh, .device = {}}, .sets = std::move(sets)});
    };
    return facts_of_run(make_run_plan(store, configure(Mode::prefill, {}), configure(Mode::decode, std::move(decode_sets)), {}));
  }
  /// The names of those that differ.
  static std::vector<std::string> differences(const std::vector<Fact>& a, const std::vector<Fact>& b) {
    EXPECT_EQ(a.size(), b.size());
    std::vector<std::string> names;
    for (std::size_t idx = 0; idx < std::min(a.size(), b.size()); ++idx) {
      EXPECT_EQ(a[idx].name, b[idx].name);
      if (a[idx].value != b[idx].value) names.push_back(a[idx].name);
    }
    return names;
  }
  /// A copy of the checkpoint whose last weight is another one.
  Path changed_checkpoint() const {
    const Path copy = folder_.path() / "changed";
    testing::copy_with_another_weight(checkpoint(), copy);
    return copy;
  }

  TemporaryFolder folder_;
};

TEST_F(RunFacts, AreThoseOfTheConfigsAndOfEveryTensorFile) {
  const Path one = store("one", checkpoint());
  const std::vector<Fact> facts = facts_of(one);
  EXPECT_TRUE(differences(facts, facts_of(store("again", checkpoint()))).empty());
  EXPECT_TRUE(std::ranges::count(facts, "store file layers/0/mla/wo.input_tensor_b.tensorbin", &Fact::name)) << facts.back().name;
  EXPECT_EQ(differences(facts, facts_of(one, {"model.layers.1.mla.wo.compute_kernel_config.math_fidelity=HiFi4"})),
            std::vector<std::string>{"decode config"});
}

TEST_F(RunFacts, NameTheFileWhoseWeightsDiffer) {
  const std::vector<std::string> names = differences(facts_of(store("one", checkpoint())), facts_of(store("two", changed_checkpoint())));
  ASSERT_FALSE(names.empty());
  for (const std::string& name : names) EXPECT_TRUE(name.starts_with("store file ")) << name;
}

TEST_F(RunFacts, AreEqualOnHostsThatStoreTheirOwnPiecesOnly) {
  const Path first = store("first", checkpoint(), {.first = 0, .count = 1});
  const Path second = store("second", checkpoint(), {.first = 1, .count = 1});
  EXPECT_TRUE(differences(facts_of(first), facts_of(second)).empty());
}

}  // namespace
}  // namespace meshseek
