// Every checkpoint family against the float64 reference, through all three stages in float32 (limits: tests/data/goldens.md).
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/file.hpp"
#include "config/tree.hpp"
#include "ops/softmax.hpp"
#include "tests/support/engine.hpp"

namespace meshseek {
namespace {

using testing::Arrays;
using testing::difference;
using testing::Engine;
using testing::row_of;

constexpr double kLogitsMax = 5e-4;
constexpr double kLogitsRms = 5e-5;
constexpr double kHiddenMax = 1e-4;  // times max(1, largest value)
constexpr double kRouterWeightMax = 1e-4;

class Checkpoint : public ::testing::TestWithParam<const char*> {
 protected:
  Path folder() const { return testing::data_folder() / "checkpoints" / GetParam(); }
  Arrays golden() const { return Arrays(folder() / "golden.safetensors"); }
};

void expect_logits(std::span<const float> actual, std::span<const float> expected, const std::string& what) {
  const auto found = difference(actual, expected);
  EXPECT_LE(found.max, kLogitsMax) << what;
  EXPECT_LE(found.rms, kLogitsRms) << what;
}

void expect_close(std::span<const float> actual, std::span<const float> expected, const std::string& what) {
  const auto found = difference(actual, expected);
  EXPECT_LE(found.max, kHiddenMax * std::max(1.0, found.largest)) << what;
}

/// Columns [begin, begin + count) of the first `rows` rows of a cache.
std::vector<float> cache_part(const LatentCache& cache, std::int64_t begin, std::int64_t count) {
  const std::int64_t width = cache.rows.dim(1);
  const std::span<const float> values = cache.rows.data<float>();
  std::vector<float> part;
  for (std::int64_t row = 0; row < cache.num_tokens; ++row) {
    const auto line = values.subspan(static_cast<std::size_t>(row * width + begin), static_cast<std::size_t>(count));
    part.insert(part.end(), line.begin(), line.end());
  }
  return part;
}

/// Sets of experts equal, then weights per expert. `first` and `layer` locate the layer in the golden [M, T, k].
void expect_routing(const Routing& routing, std::span<const std::int64_t> indices, std::span<const float> weights,
                    const std::string& what) {
  const auto actual_indices = routing.indices.data<std::int32_t>();
  const auto actual_weights = routing.weights.data<float>();
  ASSERT_EQ(actual_indices.size(), indices.size()) << what;
  const auto k = static_cast<std::size_t>(routing.indices.dim(1));
  for (std::size_t token = 0; token < indices.size() / k; ++token) {
    for (std::size_t slot = token * k; slot < (token + 1) * k; ++slot) {
      const auto begin = indices.begin() + static_cast<std::ptrdiff_t>(token * k);
      const auto found = std::find(begin, begin + static_cast<std::ptrdiff_t>(k), actual_indices[slot]);
      ASSERT_NE(found, begin + static_cast<std::ptrdiff_t>(k)) << what << ", token " << token << " chose expert " << actual_indices[slot];
      EXPECT_NEAR(actual_weights[slot], weights[static_cast<std::size_t>(found - indices.begin())], kRouterWeightMax) << what;
    }
  }
}

void expect_all_routing(const Model::Trace& trace, const Arrays& golden, const std::string& suffix) {
  const std::vector<std::int64_t> indices = golden.integers("router_indices_" + suffix);
  const std::vector<float> weights = golden.floats("router_weights_" + suffix);
  const Shape& shape = golden.shape("router_indices_" + suffix);  // [M, T, k]
  const auto per_layer = static_cast<std::size_t>(shape[1] * shape[2]);
  std::size_t moe_idx = 0;
  for (const auto& routing : trace.routing) {
    if (!routing) continue;
    expect_routing(*routing, std::span(indices).subspan(moe_idx * per_layer, per_layer),
                   std::span(weights).subspan(moe_idx * per_layer, per_layer), "routing of prompt " + suffix);
    ++moe_idx;
  }
  EXPECT_EQ(static_cast<std::int64_t>(moe_idx), shape[0]);
}

TEST_P(Checkpoint, PrefillReproducesLogitsHiddenStatesCacheAndRouting) {
  const Arrays golden = this->golden();
  Engine engine(folder());
  Runner& runner = engine.runner();
  for (const std::string suffix : {"1", "7", "64", "200", "clear"}) {
    runner.reset();
    Model::Trace trace;
    const auto output = runner.prefill(golden.integers("ids_" + suffix), Model::Logits::all, &trace);
    const auto logits = output.logits.data<float>();
    const std::int64_t vocab = runner.hf_config().vocab_size;
    const std::int64_t num_ids = output.logits.dim(0);
    if (golden.contains("logits_" + suffix)) expect_logits(logits, golden.floats("logits_" + suffix), "logits_" + suffix);
    if (suffix != "clear")
      expect_logits(row_of(logits, num_ids - 1, vocab), golden.floats("logits_" + suffix + "_last"), "last of " + suffix);
    expect_all_routing(trace, golden, suffix);
    if (suffix != "7" && suffix != "200") continue;
    const Shape& shape = golden.shape("cache_c_kv_" + suffix);  // [L, N, r]
    const std::vector<float> c_kv = golden.floats("cache_c_kv_" + suffix);
    const std::vector<float> k_r = golden.floats("cache_k_r_" + suffix);
    const std::int64_t rope = runner.hf_config().qk_rope_head_dim;
    for (std::int64_t layer = 0; layer < shape[0]; ++layer) {
      const LatentCache& cache = runner.state().layers[static_cast<std::size_t>(layer)];
      expect_close(cache_part(cache, 0, shape[2]), row_of(c_kv, layer, shape[1] * shape[2]), "c_kv of layer " + std::to_string(layer));
      expect_close(cache_part(cache, shape[2], rope), row_of(k_r, layer, shape[1] * rope), "k_r of layer " + std::to_string(layer));
    }
  }
}

TEST_P(Checkpoint, HiddenStatesAfterEveryLayerAreReproduced) {
  const Arrays golden = this->golden();
  Engine engine(folder());
  Runner& runner = engine.runner();
  Model::Trace trace;
  const auto output = runner.prefill(golden.integers("ids_7"), Model::Logits::all, &trace);
  const std::vector<float> hidden = golden.floats("hidden_7");  // [L + 1, 7, H]
  const std::int64_t per_layer = 7 * runner.hf_config().hidden_size;
  ASSERT_EQ(static_cast<std::int64_t>(trace.hidden.size()), golden.shape("hidden_7")[0]);
  for (std::size_t idx = 0; idx < trace.hidden.size(); ++idx) {
    expect_close(trace.hidden[idx].data<float>(), row_of(hidden, static_cast<std::int64_t>(idx), per_layer),
                 "hidden " + std::to_string(idx));
  }
  expect_close(output.post_norm.data<float>(), golden.floats("final_norm_7"), "final norm");
}

TEST_P(Checkpoint, LogitsAtManyPositionsOfTheLongPromptAreReproduced) {
  const Arrays golden = this->golden();
  const Path json_path = folder() / "golden.json";
  const Tree json = parse_json(read_text_file(json_path), json_path.string());
  Engine engine(folder());
  const auto output = engine.runner().prefill(golden.integers("ids_200"), Model::Logits::all);
  const std::int64_t vocab = engine.runner().hf_config().vocab_size;
  const std::vector<float> expected = golden.floats("logits_200_at");
  std::int64_t row = 0;
  for (const Tree& position : json.find("logits_200_positions")->as_array("positions")) {
    expect_logits(row_of(output.logits.data<float>(), position.as_integer("position"), vocab), row_of(expected, row, vocab),
                  "position " + std::to_string(position.as_integer("position")));
    ++row;
  }
  EXPECT_EQ(row, golden.shape("logits_200_at")[0]);
}

TEST_P(Checkpoint, DecodingTokenByTokenAgreesWithPrefillAndGoldens) {
  const Arrays golden = this->golden();
  Engine engine(folder());
  Runner& runner = engine.runner();
  const std::vector<std::int64_t> ids = golden.integers("ids_200");
  const std::int64_t vocab = runner.hf_config().vocab_size;
  const auto prefill = runner.prefill(ids, Model::Logits::all);
  runner.reset();
  for (std::size_t position = 0; position < ids.size(); ++position) {
    const auto step = runner.decode(ids[position]);
    expect_logits(step.logits.data<float>(), row_of(prefill.logits.data<float>(), static_cast<std::int64_t>(position), vocab),
                  "decode at " + std::to_string(position));
    if (position == ids.size() - 1) expect_logits(step.logits.data<float>(), golden.floats("logits_200_last"), "decode against the golden");
  }
}

TEST_P(Checkpoint, GreedyContinuationsAreReproduced) {
  const Arrays golden = this->golden();
  Engine engine(folder());
  Runner& runner = engine.runner();
  const std::int64_t vocab = runner.hf_config().vocab_size;
  for (const std::string suffix : {"1", "7", "64", "200"}) {
    runner.reset();
    const std::vector<std::int64_t> expected = golden.integers("greedy_ids_" + suffix);
    const std::vector<float> expected_logits = golden.floats("greedy_logits_" + suffix);
    Tensor logits = runner.prefill(golden.integers("ids_" + suffix), Model::Logits::last).logits;
    for (std::size_t step = 0; step < expected.size(); ++step) {
      expect_logits(logits.data<float>(), row_of(expected_logits, static_cast<std::int64_t>(step), vocab), "greedy step of " + suffix);
      const std::int64_t chosen = argmax(logits.data<float>());
      ASSERT_EQ(chosen, expected[step]) << "prompt " << suffix << ", step " << step;
      if (step + 1 < expected.size()) logits = runner.decode(chosen).logits;
    }
  }
}

TEST_P(Checkpoint, NaiveAndAbsorbedAttentionAgreeOnTheSameInput) {
  const Arrays golden = this->golden();
  const std::vector<std::int64_t> ids = golden.integers("ids_64");
  Engine naive(folder());
  Engine absorbed(folder(), {.prefill_sets = {"model.**.mla.flash_mla.form=absorbed", "model.**.mla.wkv_b1.transpose_b=false"}});
  const auto expected = naive.runner().prefill(ids, Model::Logits::all);
  const auto actual = absorbed.runner().prefill(ids, Model::Logits::all);
  expect_logits(actual.logits.data<float>(), expected.logits.data<float>(), "absorbed against naive");
}

TEST_P(Checkpoint, PrefillInChunksEqualsOnePrefill) {
  const Arrays golden = this->golden();
  const std::vector<std::int64_t> ids = golden.integers("ids_64");
  Engine engine(folder());
  Runner& runner = engine.runner();
  for (std::size_t begin = 0; begin < ids.size(); begin += 13) {
    const std::size_t count = std::min<std::size_t>(13, ids.size() - begin);
    const auto output = runner.prefill(std::span(ids).subspan(begin, count), Model::Logits::last);
    if (begin + count == ids.size()) expect_logits(output.logits.data<float>(), golden.floats("logits_64_last"), "chunks of 13");
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Checkpoint,
                         ::testing::Values("v2lite-tiny", "v2-tiny", "v3-tiny", "v3-tiny-fp8", "v3-tiny-fp8-ue8m0", "moonlight-tiny",
                                           "kimi-tiny", "odd-tiny", "tied-tiny"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(OperatorLog, ShowsThatPrefillIsNaiveAndDecodeAbsorbed) {
  Engine engine(testing::data_folder() / "checkpoints" / "v2lite-tiny");
  std::vector<std::string> attentions;
  engine.runner().device().set_observer([&](const OpRecord& record) {
    if (record.op.starts_with("flash_mla"))
      attentions.push_back(std::string(record.op) + " " + record.detail.substr(0, record.detail.find(' ')));
  });
  const std::int64_t ids[] = {3, 4};
  engine.runner().prefill(ids, Model::Logits::last);
  engine.runner().decode(5);
  const std::vector<std::string> expected = {"flash_mla_prefill naive",   "flash_mla_prefill naive",   "flash_mla_prefill naive",
                                             "flash_mla_decode absorbed", "flash_mla_decode absorbed", "flash_mla_decode absorbed"};
  EXPECT_EQ(attentions, expected);
}

class MtpCheckpoint : public Checkpoint {};

TEST_P(MtpCheckpoint, LogitsEqualTheGoldensForBothHiddenSources) {
  const Arrays golden = this->golden();
  for (const std::string variant : {"post_norm", "pre_norm"}) {
    Engine engine(folder(), {.sets = {"model.mtp.*.hidden_source=" + variant}});
    Runner& runner = engine.runner();
    const std::int64_t vocab = runner.hf_config().vocab_size;
    for (const std::string suffix : {"7", "64", "200"}) {
      runner.reset();
      const std::vector<std::int64_t> ids = golden.integers("ids_" + suffix);
      const auto main = runner.prefill(ids, Model::Logits::none);
      const auto mtp = runner.mtp(main, ids);
      const std::string name = "mtp_" + variant;
      expect_logits(row_of(mtp.logits.data<float>(), mtp.logits.dim(0) - 1, vocab), golden.floats(name + "_logits_" + suffix + "_last"),
                    name);
      if (suffix != "7") continue;
      expect_logits(mtp.logits.data<float>(), golden.floats(name + "_logits_7"), name);
      expect_close(mtp.h.data<float>(), golden.floats(name + "_hidden_7"), name);
    }
  }
}

TEST_P(MtpCheckpoint, AContextThatIsExactlyFullStillHasMtpLogits) {
  const std::vector<std::int64_t> ids = golden().integers("ids_7");
  Engine engine(folder(), {.max_tokens = 7});
  const auto main = engine.runner().prefill(ids, Model::Logits::none);
  EXPECT_EQ(engine.runner().mtp(main, ids).logits.dim(0), 6);
  EXPECT_THROW(engine.runner().decode(3), Error);
}

TEST_P(MtpCheckpoint, TheDefaultHiddenSourceIsPostNorm) {
  Engine engine(folder());
  EXPECT_EQ(engine.runner().prefill_run_config().mtp.at(0).hidden_source, HiddenSource::post_norm);
}

INSTANTIATE_TEST_SUITE_P(Families, MtpCheckpoint, ::testing::Values("v3-tiny", "v3-tiny-fp8", "v3-tiny-fp8-ue8m0"), [](const auto& param) {
  std::string name = param.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace meshseek
