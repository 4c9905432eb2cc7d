// One module alone: the gated feed-forward block through all three stages, with no model around it.
//
//   build/release/examples/mlp
//
// Stage 1 converts three Hugging Face tensors into tensor files and a weight config. Stage 2 makes the operator configs for prefill and for decode. Stage 3
// merges each with the weights and runs it. The result is compared with a plain loop; the exit code is 1 when it differs.
#include "modules/mlp/mlp.hpp"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <random>
#include <vector>

#include "config/overlay.hpp"
#include "config/serialise.hpp"
#include "hf/state_dict.hpp"
#include "hf/state_dict_view.hpp"
#include "mesh/device.hpp"
#include "stage3_run/create_run_config.hpp"

using namespace meshseek;

namespace {

constexpr std::int64_t kHidden = 256;
constexpr std::int64_t kInner = 768;

std::vector<float> random_values(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, 0.05F);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

/// What a Hugging Face checkpoint holds for this module.
struct Checkpoint {
  std::vector<float> gate_proj = random_values(kInner * kHidden, 1);  // [inner, hidden]
  std::vector<float> up_proj = random_values(kInner * kHidden, 2);    // [inner, hidden]
  std::vector<float> down_proj = random_values(kHidden * kInner, 3);  // [hidden, inner]

  void write(const Path& folder) const {
    const std::vector<NamedArray> arrays = {{"gate_proj.weight", HfDtype::F32, {kInner, kHidden}, std::as_bytes(std::span(gate_proj))},
                                            {"up_proj.weight", HfDtype::F32, {kInner, kHidden}, std::as_bytes(std::span(up_proj))},
                                            {"down_proj.weight", HfDtype::F32, {kHidden, kInner}, std::as_bytes(std::span(down_proj))}};
    std::filesystem::create_directories(folder);
    write_safetensors(folder / "model.safetensors", arrays);
  }
};

/// y = w2 (silu(w1 x) * (w3 x)) for one row, in double.
std::vector<double> plain_loop(const Checkpoint& weights, const float* x) {
  const auto row_times = [](const std::vector<float>& matrix, std::int64_t row, std::int64_t count, const auto* vector) {
    double sum = 0.0;
    for (std::int64_t col = 0; col < count; ++col)
      sum += static_cast<double>(matrix[static_cast<std::size_t>(row * count + col)]) * vector[col];
    return sum;
  };
  std::vector<double> inner(kInner);  // [inner]
  for (std::int64_t row = 0; row < kInner; ++row) {
    const double gate = row_times(weights.gate_proj, row, kHidden, x);
    inner[static_cast<std::size_t>(row)] = gate / (1.0 + std::exp(-gate)) * row_times(weights.up_proj, row, kHidden, x);
  }
  std::vector<double> y(kHidden);  // [hidden]
  for (std::int64_t row = 0; row < kHidden; ++row)
    y[static_cast<std::size_t>(row)] = row_times(weights.down_proj, row, kInner, inner.data());
  return y;
}

/// Root-mean-square error of rows of y relative to the plain loop.
double relative_error(const Checkpoint& weights, const std::vector<float>& x, const Tensor& y) {
  const std::vector<float> actual = to_float_vector(y);
  double error = 0.0;
  double size = 0.0;
  for (std::int64_t token = 0; token < y.dim(0); ++token) {
    const std::vector<double> expected = plain_loop(weights, x.data() + token * kHidden);
    for (std::int64_t col = 0; col < kHidden; ++col) {
      const double exact = expected[static_cast<std::size_t>(col)];
      error += std::pow(static_cast<double>(actual[static_cast<std::size_t>(token * kHidden + col)]) - exact, 2);
      size += exact * exact;
    }
  }
  return std::sqrt(error / size);
}

}  // namespace

int main() {
  const Path folder = std::filesystem::temp_directory_path() / fmt::format("meshseek-example-{}", std::random_device()());
  const Checkpoint checkpoint;
  checkpoint.write(folder / "checkpoint");
  HfConfig hf;
  hf.hidden_size = kHidden;
  hf.intermediate_size = kInner;
  const MeshDevice mesh = {.shape = {1, 1}, .device = probe_device()};
  Device device;

  // Stage 1: weights become tensor files and a weight config.
  ThreadTeam& team = device.team();
  const ConversionContext context = {.store = folder / "store", .dtype = DataType::bfloat8_b, .team = &team};
  const StateDict state_dict(folder / "checkpoint", hf);
  const WeightConfig weight_config = Mlp::convert_weights(hf, StateDictView(state_dict), WeightOutput(context), mesh.shape);
  fmt::print("weight config: {}", to_json(weight_config));

  // Stage 2: operator configs of both modes; plain data, written to files and read back at will.
  const Tree prefill_config = to_tree(Mlp::prefill_model_config(hf, mesh));
  const Tree decode_config = to_tree(Mlp::decode_model_config(hf, mesh));
  Tree exact_config = prefill_config;  // the same weights under another config
  apply_set(exact_config, "**.math_fidelity=HiFi4");
  fmt::print("decode config: {}", to_json(decode_config));

  // Stage 3: run configs, and the module runs. All three share one mapping of each weight file.
  WeightLoader loader(context.store, mesh.shape);
  const Mlp mlp(hf, mesh);
  const std::vector<float> x = random_values(40 * kHidden, 4);
  bool is_right = true;
  const auto run = [&](const char* name, const Tree& model_config, std::int64_t num_tokens, double most) {
    const auto cfg = create_run_config<Mlp::Config>(model_config, weight_config, "mlp", loader);
    const Tensor input =
        Tensor::from<float>({num_tokens, kHidden}, std::span(x).first(static_cast<std::size_t>(num_tokens * kHidden)), &device);
    const double error = relative_error(checkpoint, x, mlp.forward(input, cfg));
    fmt::print("{:<16} {:>2} tokens: relative error {:.4f}\n", name, num_tokens, error);
    is_right = is_right && error < most;
  };
  // Of what bfloat8_b leaves of the weights; with int8 activations beside them; and where prefill goes through panels (docs/performance.md), whose codes share an
  // exponent, weights lose up to one more bit.
  constexpr double kWeights = 0.015, kInt8 = 0.02, kPanels = 2 * kWeights;
  run("prefill", prefill_config, 40, kPanels);
  run("decode", decode_config, 1, kInt8);
  run("prefill, HiFi4", exact_config, 40, kWeights);
  std::filesystem::remove_all(folder);
  return is_right ? 0 : 1;
}
