// Operators one by one on the shapes of published models: meshseek_bench_ops --benchmark_filter=v2-lite.wq
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "base/thread_team.hpp"
#include "mesh/device.hpp"
#include "ops/binary.hpp"
#include "ops/flash_mla.hpp"
#include "ops/linear.hpp"
#include "ops/rms_norm.hpp"
#include "ops/standard_linear_config.hpp"
#include "tensor/block_float.hpp"
#include "tensor/tile_layout.hpp"
#include "tests/support/operator_cases.hpp"

namespace meshseek {
namespace {

using testing::LinearCase;

constexpr std::int64_t kColdBytes = std::int64_t{256} << 20;  ///< few rows: so many bytes of weights in turn, more than any cache keeps
constexpr std::int64_t kFewRows = 8;

Tensor random_activation(const Shape& shape, Device& device) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<bf16> values(static_cast<std::size_t>(volume(shape)));
  for (bf16& value : values) value = to_bf16(normal(random));
  return Tensor::from<bf16>(shape, values, &device);
}

/// A weight of random codes with ordinary exponents, made without encoding: 64 exponents, then the codes, for each tile.
Tensor random_weight(const Shape& shape, DataType dtype) {
  const auto size = static_cast<std::size_t>(storage_bytes(shape, dtype, Layout::tile));
  auto bytes = std::make_shared<std::vector<std::byte>>(size);
  std::mt19937_64 random(1);
  for (std::size_t begin = 0; begin + sizeof(std::uint64_t) <= size; begin += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(bytes->data() + begin, &word, sizeof(word));
  }
  const auto tile = static_cast<std::size_t>(tile_bytes(dtype));
  for (std::size_t begin = 0; begin < size; begin += tile)
    std::fill_n(bytes->begin() + static_cast<std::ptrdiff_t>(begin), 64, std::byte{120});
  const std::span<const std::byte> view(*bytes);
  return Tensor(shape, dtype, Layout::tile, view, std::move(bytes));
}

Shape weight_shape(const LinearCase& one) {
  const Shape matrix = one.transpose_b ? Shape{one.out, one.in} : Shape{one.in, one.out};
  return one.matrices > 1 ? Shape{one.matrices, matrix[0], matrix[1]} : matrix;
}

/// Expert rows: token t visits the experts t * k, t * k + 1, ... in turn.
std::vector<std::int64_t> expert_offsets(const LinearCase& one, std::int64_t num_tokens) {
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(one.matrices) + 1, 0);
  for (std::int64_t row = 0; row < num_tokens * one.experts_per_token; ++row) ++offsets[static_cast<std::size_t>(row % one.matrices) + 1];
  for (std::size_t idx = 1; idx < offsets.size(); ++idx) offsets[idx] += offsets[idx - 1];
  return offsets;
}

void run_linear(benchmark::State& state, const LinearCase& one, DataType dtype, MathFidelity fidelity, std::int64_t num_tokens) {
  Device device;
  const bool is_decode = num_tokens == 1;
  const auto make_config = is_decode ? decode_linear_config : prefill_linear_config;
  const LinearConfig standard = make_config(weight_shape(one), fidelity, device.description(), one.transpose_b);
  const std::vector<std::int64_t> offsets = expert_offsets(one, num_tokens);
  const bool grouped = one.experts_per_token > 0;
  const Shape x_shape = grouped            ? Shape{offsets.back(), one.in}
                        : one.matrices > 1 ? Shape{num_tokens, one.matrices, one.in}
                                           : Shape{num_tokens, one.in};
  const Tensor x = random_activation(x_shape, device);
  const auto stored = static_cast<std::int64_t>(storage_bytes(weight_shape(one), dtype, Layout::tile));
  std::vector<LinearConfig> configs(static_cast<std::size_t>(num_tokens <= kFewRows ? std::max<std::int64_t>(1, kColdBytes / stored) : 1),
                                    standard);
  for (LinearConfig& config : configs) config.input_tensor_b.tensor = random_weight(weight_shape(one), dtype);
  std::size_t turn = 0;
  for (auto _ : state) {
    const LinearConfig& config = configs[turn++ % configs.size()];
    benchmark::DoNotOptimize(grouped ? grouped_linear(x, offsets, config) : linear(x, config));
  }
  const double visited =
      grouped ? static_cast<double>(std::min(one.matrices, num_tokens * one.experts_per_token)) / static_cast<double>(one.matrices) : 1.0;
  const double products = static_cast<double>(volume(x_shape) * one.out);
  using benchmark::Counter;
  state.counters["GB/s"] = Counter(visited * static_cast<double>(stored) / 1e9, Counter::kIsIterationInvariantRate);
  state.counters["TFLOP/s"] = Counter(2.0 * products / 1e12, Counter::kIsIterationInvariantRate);
}

void run_flash_decode(benchmark::State& state, std::int64_t heads, std::int64_t depth) {
  constexpr std::int64_t kRank = 512, kRope = 64;
  Device device;
  LatentCache cache = {.rows = random_activation({depth, kRank + kRope}, device), .num_tokens = depth, .kv_lora_rank = kRank};
  const Tensor q_latent = random_activation({1, heads, kRank}, device);
  const Tensor q = random_activation({1, heads, kRope}, device);
  for (auto _ : state) benchmark::DoNotOptimize(flash_mla_decode(q_latent, q, cache, {.form = MlaForm::absorbed, .scale = 0.1}));
  using benchmark::Counter;
  state.counters["ns/token"] = Counter(static_cast<double>(depth) / 1e9, Counter::kIsIterationInvariantRate | Counter::kInvert);
  state.counters["TFLOP/s"] = Counter(2e-12 * static_cast<double>(depth * heads * (2 * kRank + kRope)), Counter::kIsIterationInvariantRate);
}

void run_flash_prefill(benchmark::State& state, std::int64_t heads, std::int64_t num_tokens) {
  constexpr std::int64_t kRank = 512, kRope = 64, kDim = 128;
  Device device;
  const LatentCache cache = {
      .rows = random_activation({num_tokens, kRank + kRope}, device), .num_tokens = num_tokens, .kv_lora_rank = kRank};
  const Tensor q = random_activation({num_tokens, heads, kDim + kRope}, device);
  const Tensor k = random_activation({num_tokens, heads, kDim}, device);
  for (auto _ : state) benchmark::DoNotOptimize(flash_mla_prefill(q, k, k, cache, {.form = MlaForm::naive, .scale = 0.1}));
  using benchmark::Counter;
  const double pairs = static_cast<double>(num_tokens * (num_tokens + 1) / 2);
  state.counters["TFLOP/s"] = Counter(2e-12 * pairs * static_cast<double>(heads * (2 * kDim + kRope)), Counter::kIsIterationInvariantRate);
}

void run_rms_norm(benchmark::State& state, std::int64_t dim, std::int64_t num_tokens) {
  Device device;
  const Tensor x = random_activation({num_tokens, dim}, device);
  const RmsNormConfig config = {.weight = {.shape = {dim}, .tensor = random_activation({dim}, device)}};
  for (auto _ : state) benchmark::DoNotOptimize(rms_norm(x, config));
  state.counters["GB/s"] = benchmark::Counter(4e-9 * static_cast<double>(num_tokens * dim), benchmark::Counter::kIsIterationInvariantRate);
}

void run_mul(benchmark::State& state, std::int64_t dim, std::int64_t num_tokens) {
  Device device;
  const Tensor x = random_activation({num_tokens, dim}, device);
  for (auto _ : state) benchmark::DoNotOptimize(mul(x, x, {.input_tensor_a_activations = {UnaryOpType::SILU}}));
  state.counters["GB/s"] = benchmark::Counter(6e-9 * static_cast<double>(num_tokens * dim), benchmark::Counter::kIsIterationInvariantRate);
}

/// What a loop costs that does nothing: waking the threads and waiting for them.
void run_barrier(benchmark::State& state) {
  ThreadTeam team;
  for (auto _ : state) team.parallel_for(team.size(), 1, [](std::size_t begin, std::size_t) { benchmark::DoNotOptimize(begin); });
}

void add_case(const std::string& name, const auto& run) {
  benchmark::RegisterBenchmark(name.c_str(), run)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

void add_linears() {
  for (const LinearCase& one : testing::kLinearCases) {
    for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
      for (const MathFidelity fidelity : {MathFidelity::LoFi, MathFidelity::HiFi2}) {
        for (const std::int64_t num_tokens : testing::kNumTokens) {
          add_case(fmt::format("{}/{}/{}/M:{}", one.name, to_string(dtype), enum_name(fidelity), num_tokens),
                   [=](benchmark::State& state) { run_linear(state, one, dtype, fidelity, num_tokens); });
        }
      }
    }
  }
}

void add_others() {
  struct Shapes {
    const char* model;
    std::int64_t heads, hidden, inner;
  };
  for (const Shapes& model : {Shapes{"v2-lite", 16, 2048, 10944}, Shapes{"v3", 128, 7168, 18432}}) {
    const auto add = [&](const char* op, const char* size, std::int64_t count, auto run, std::int64_t first) {
      add_case(fmt::format("{}.{}/{}:{}", model.model, op, size, count), [=](benchmark::State& state) { run(state, first, count); });
    };
    for (const std::int64_t depth : {32, 1024, 4096}) add("flash_mla_decode", "depth", depth, run_flash_decode, model.heads);
    for (const std::int64_t count : {512, 2048}) add("flash_mla_prefill", "M", count, run_flash_prefill, model.heads);
    for (const std::int64_t count : testing::kNumTokens) add("rms_norm", "M", count, run_rms_norm, model.hidden);
    for (const std::int64_t count : testing::kNumTokens) add("mul_silu", "M", count, run_mul, model.inner);
  }
}

}  // namespace
}  // namespace meshseek

int main(int argc, char** argv) {
  meshseek::add_linears();
  meshseek::add_others();
  meshseek::add_case("barrier", meshseek::run_barrier);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  return benchmark::RunSpecifiedBenchmarks() == 0 ? 1 : 0;  // a filter that matches nothing is a mistake
}
