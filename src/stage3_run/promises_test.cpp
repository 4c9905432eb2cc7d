// What the principles promise of run configs, beyond single rules.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "config/serialise.hpp"
#include "hf/hf_config.hpp"
#include "modules/model/model.hpp"
#include "stage1_convert/convert.hpp"
#include "stage2_configure/configure.hpp"
#include "stage3_run/create_run_config.hpp"
#include "stage3_run/runner.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

// ---------------------------------------------------------------- all values are typed

template <class T>
constexpr bool holds_text();

template <class Fields>
struct AnyFieldHoldsText;
template <class... F>
struct AnyFieldHoldsText<std::tuple<F...>> : std::bool_constant<(holds_text<typename F::member_type>() || ...)> {};

template <class T>
struct ElementHoldsText : std::false_type {};
template <class T>
struct ElementHoldsText<std::optional<T>> : std::bool_constant<holds_text<T>()> {};
template <class T>
struct ElementHoldsText<std::vector<T>> : std::bool_constant<holds_text<T>()> {};
template <class T, std::size_t N>
struct ElementHoldsText<std::array<T, N>> : std::bool_constant<holds_text<T>()> {};
template <class... T>
struct ElementHoldsText<std::variant<T...>> : std::bool_constant<(holds_text<T>() || ...)> {};

/// Whether a config holds a string or an untyped tree at any depth.
template <class T>
constexpr bool holds_text() {
  if constexpr (std::is_same_v<T, std::string> || std::is_same_v<T, std::string_view> || std::is_same_v<T, Tree>) {
    return true;
  } else if constexpr (HasFields<T>) {
    return AnyFieldHoldsText<decltype(T::fields())>::value;
  } else {
    return ElementHoldsText<T>::value;
  }
}

struct WithText {
  std::vector<std::optional<std::string>> names = {};
  static constexpr auto fields() { return std::tuple{field("names", &WithText::names, "")}; }
};

static_assert(holds_text<WithText>());
static_assert(!holds_text<Model::Config>(), "a run config holds text: what a forward reads must have been parsed before");

// ---------------------------------------------------------------- lifetimes

Path v3_tiny() { return Path(MESHSEEK_SOURCE_DIR) / "tests/data/checkpoints/v3-tiny"; }

std::unique_ptr<Runner> make_runner(const Path& store) {
  const HfConfig hf = read_hf_config(v3_tiny());
  return std::make_unique<Runner>(store, make_model_config(hf, {.mode = Mode::prefill}), make_model_config(hf, {.mode = Mode::decode}),
                                  RunnerOptions{.num_threads = 2});
}

class Promises : public ::testing::Test {
 protected:
  void SetUp() override { convert_checkpoint(v3_tiny(), store_.path() / "store", {}); }
  Path store() const { return store_.path() / "store"; }
  TemporaryFolder store_;
};

TEST_F(Promises, BothModesShareEachWeightAndKnowTheirMode) {
  const auto runner = make_runner(store());
  EXPECT_EQ(runner->prefill_run_config().mode, Mode::prefill);
  EXPECT_EQ(runner->decode_run_config().mode, Mode::decode);
  std::vector<const void*> prefill, decode;
  Model::Config prefill_copy = runner->prefill_run_config();
  Model::Config decode_copy = runner->decode_run_config();
  for_each_weight_slot(prefill_copy, "model", [&](WeightSlot& slot, const std::string&) { prefill.push_back(slot.tensor.bytes().data()); });
  for_each_weight_slot(decode_copy, "model", [&](WeightSlot& slot, const std::string&) { decode.push_back(slot.tensor.bytes().data()); });
  EXPECT_GT(prefill.size(), 50U);
  EXPECT_EQ(prefill, decode);
}

TEST_F(Promises, ResultsAndConfigsOutliveTheRunnerAndItsLoader) {
  auto runner = make_runner(store());
  const std::vector<std::int64_t> ids = {1, 2, 3};
  const Model::Output prefill = runner->prefill(ids, Model::Logits::all);
  const Model::Output decode = runner->decode(4);
  const std::vector<float> prefill_before = to_float_vector(prefill.logits);
  const std::vector<float> decode_before = to_float_vector(decode.post_norm);
  const Model::Config config = runner->decode_run_config();
  const std::vector<float> weight_before = to_float_vector(config.layers[0].mla.wo.input_tensor_b.tensor);
  runner.reset();
  EXPECT_EQ(to_float_vector(prefill.logits), prefill_before);
  EXPECT_EQ(to_float_vector(decode.post_norm), decode_before);
  EXPECT_EQ(to_float_vector(config.layers[0].mla.wo.input_tensor_b.tensor), weight_before);
}

}  // namespace
}  // namespace meshseek
