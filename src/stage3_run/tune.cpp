#include "stage3_run/tune.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <span>
#include <unordered_map>
#include <utility>

#include "base/stopwatch.hpp"
#include "config/ranges.hpp"
#include "config/serialise.hpp"
#include "ops/capture.hpp"
#include "ops/linear.hpp"
#include "ops/matmul_plan.hpp"
#include "stage3_run/capture_writer.hpp"

namespace meshseek {
namespace {

constexpr double kLeastGain = 0.03;    ///< less may be the machine's mood
constexpr double kTurnSeconds = 1e-3;  ///< a product shorter than this runs several times a round: a thread that woke late would decide
constexpr double kSlowWarmUp = 1.5;    ///< times the fastest: not measured again
constexpr double kSlowRound = 1.1;     ///< the same after a round, by the shortest times so far
constexpr std::int64_t kDecodeContext = 32;  ///< tokens before the decode step; products do not depend on them

/// One product as the model ran it.
struct LinearCall {
  std::string name = {};  ///< path below the layer
  LinearConfig config = {};
  Tensor x = {};
  std::vector<std::int64_t> offsets = {};  ///< of grouped_linear(); empty: linear()

  /// The sizes that the operator gives to resolve_program().
  MatmulSizes sizes() const {
    const Tensor& weight = config.input_tensor_b.tensor;
    const std::int64_t matrices = weight.rank() == 3 ? weight.dim(0) : 1;
    return {.m = offsets.empty() ? x.dim(0) * matrices : x.dim(0),
            .k = weight.dim(config.transpose_b ? -1 : -2),
            .n = weight.dim(config.transpose_b ? -2 : -1),
            .num_matrices = matrices};
  }
  double seconds_with(const LinearConfig& candidate) const {
    const auto start = std::chrono::steady_clock::now();
    const Tensor y = offsets.empty() ? linear(x, candidate) : grouped_linear(x, offsets, candidate);
    return seconds_since(start);
  }
};

/// In main memory: kept values would fill the device's L1, and later operators may write to theirs.
Tensor copy_of(const Tensor& x) {
  if (x.dtype() == DataType::float32) return Tensor::from(x.shape(), x.data<float>(), x.device());
  return Tensor::from(x.shape(), x.data<bf16>(), x.device());
}

/// Records the first call of each wanted product while it lives.
class LinearRecorder final : public OperatorRecorder {
 public:
  explicit LinearRecorder(Device& device) : device_(&device) { device_->set_recorder(this); }
  LinearRecorder(const LinearRecorder&) = delete;
  LinearRecorder& operator=(const LinearRecorder&) = delete;
  ~LinearRecorder() override { device_->set_recorder(nullptr); }

  /// The products of a layer's config, which must stay where it is.
  void add_layer(const DecoderBlock::Config& layer, std::size_t kind_idx) {
    for_each_operator_config(layer, "", [&](const auto& op, const std::string& path) {
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(op)>, LinearConfig>)
        wanted_[&op] = {.kind_idx = kind_idx, .name = path.substr(1), .config = &op};
    });
  }

  void start(const OperatorCall& call) override {
    const auto found = wanted_.find(call.config);
    if (found == wanted_.end()) return;
    LinearCall recorded = {.name = found->second.name, .config = *found->second.config};
    for (const auto& [name, tensor] : call.inputs.tensors()) {
      if (name == "x") recorded.x = copy_of(tensor);
      if (name != "offsets") continue;
      const auto values = tensor.data<std::int32_t>();
      recorded.offsets.assign(values.begin(), values.end());
    }
    calls_[found->second.kind_idx].push_back(std::move(recorded));
    wanted_.erase(found);
  }
  void finish(const CallValues&) override {}

  /// The calls of one kind, in their order.
  const std::vector<LinearCall>& calls(std::size_t kind_idx) { return calls_[kind_idx]; }

 private:
  struct Wanted {
    std::size_t kind_idx = 0;
    std::string name = {};
    const LinearConfig* config = nullptr;
  };

  Device* device_;
  std::unordered_map<const void*, Wanted> wanted_;
  std::map<std::size_t, std::vector<LinearCall>> calls_;
};

/// Equal for layers that compute alike: their configs and the element types of their weights.
std::string kind_of(const DecoderBlock::Config& layer) {
  std::string kind = to_json_line(to_tree(layer));
  for_each_operator_config(layer, "", [&](const auto& op, const std::string&) {
    std::vector<NamedTensor> weights;
    append_weights(op, "", weights);
    for (const NamedTensor& weight : weights) kind += fmt::format(" {}", to_string(weight.tensor.dtype()));
  });
  return kind;
}

/// Numbers of the layers, by kind; kinds in the order of their first layers.
std::vector<std::vector<std::int64_t>> layers_by_kind(const std::vector<DecoderBlock::Config>& layers) {
  std::vector<std::vector<std::int64_t>> kinds;
  std::unordered_map<std::string, std::size_t> known;
  for (std::size_t layer_idx = 0; layer_idx < layers.size(); ++layer_idx) {
    const auto [kind, is_new] = known.try_emplace(kind_of(layers[layer_idx]), kinds.size());
    if (is_new) kinds.emplace_back();
    kinds[kind->second].push_back(static_cast<std::int64_t>(layer_idx));
  }
  return kinds;
}

std::vector<std::int64_t> random_ids(std::int64_t count, std::int64_t vocab_size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::int64_t> ids;
  for (std::int64_t idx = 0; idx < count; ++idx)
    ids.push_back(static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(vocab_size)));
  return ids;
}

/// One pass of the mode over random tokens, its products recorded.
void run_pass(Runner& runner, Mode mode, const TuneOptions& options) {
  runner.reset();
  const std::int64_t vocab_size = runner.hf_config().vocab_size;
  if (mode == Mode::prefill) {
    runner.prefill(random_ids(options.num_tokens, vocab_size, options.seed), Model::Logits::none);
    return;
  }
  const std::int64_t context = std::clamp<std::int64_t>(runner.capacity() - 1, 1, kDecodeContext);
  const std::vector<std::int64_t> ids = random_ids(context + 1, vocab_size, options.seed);
  runner.prefill(std::span(ids).first(ids.size() - 1), Model::Logits::none);
  runner.decode(ids.back());
}

// --- candidates ---

std::vector<std::int64_t> with(std::vector<std::int64_t> values, std::int64_t present) {
  values.push_back(present);
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

/// Values of in0_block_w: all tiles of K, half of them, a quarter, the present value.
std::vector<std::int64_t> k_blocks(std::int64_t k, std::int64_t present) {
  const std::int64_t k_tiles = matmul_program_config::tiles(k);
  return with({k_tiles, std::max<std::int64_t>(1, k_tiles / 2), std::max<std::int64_t>(1, k_tiles / 4)}, present);
}

/// Configs that differ in their programs; the present one first.
class Candidates {
 public:
  Candidates(const LinearConfig& present, const MatmulSizes& sizes) : sizes_(sizes) {
    add(present);
    if (present.program_config) {
      add_dram_sharded(present);
    } else if (present.program_rule) {
      add_rules(present, *present.program_rule);
    }
  }

  std::vector<LinearConfig> take() { return std::move(configs_); }

 private:
  void add_dram_sharded(const LinearConfig& present) {
    const auto* program = std::get_if<MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig>(&*present.program_config);
    if (program == nullptr) return;
    for (const std::int64_t in0_block_w : k_blocks(sizes_.k, program->in0_block_w)) {
      MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig changed = *program;
      changed.in0_block_w = in0_block_w;
      LinearConfig config = present;
      config.program_config = changed;
      add(config);
    }
  }

  void add_rules(const LinearConfig& present, const MatmulProgramRule& rule) {
    for (const std::int64_t in0_block_w : k_blocks(sizes_.k, rule.in0_block_w)) {
      for (const std::int64_t out_subblock_h : with({1, 2, 4}, rule.out_subblock_h)) {
        for (const std::int64_t out_subblock_w : with({1, 2, 4}, rule.out_subblock_w)) {
          LinearConfig config = present;
          config.program_rule->in0_block_w = in0_block_w;
          config.program_rule->out_subblock_h = out_subblock_h;
          config.program_rule->out_subblock_w = out_subblock_w;
          add(config);
        }
      }
    }
  }

  /// Rules limit themselves to the sizes: several may come to the same program, and one of them is enough.
  void add(const LinearConfig& config) {
    const MatmulProgramConfig program = resolve_program(config, sizes_, {});
    if (std::find(programs_.begin(), programs_.end(), program) != programs_.end()) return;
    programs_.push_back(program);
    configs_.push_back(config);
  }

  MatmulSizes sizes_;
  std::vector<LinearConfig> configs_;
  std::vector<MatmulProgramConfig> programs_;
};

// --- measuring ---

/// Shortest times of some configs of one call.
class Measurement {
 public:
  Measurement(const LinearCall& call, std::vector<LinearConfig> configs) : call_(&call) {
    for (LinearConfig& config : configs) entries_.push_back({.config = std::move(config)});
  }

  /// Runs each config once, and drops those that do not fit or are much slower; never the first one.
  void warm_up() {
    std::vector<Entry> fitting;
    for (Entry& entry : entries_) {
      try {
        entry.seconds = call_->seconds_with(entry.config);
      } catch (const ConfigError&) {
        if (fitting.empty()) throw;  // the present config
        continue;
      } catch (const ShapeError&) {
        if (fitting.empty()) throw;
        continue;
      }
      fitting.push_back(std::move(entry));
    }
    entries_ = std::move(fitting);
    drop_slower_than(kSlowWarmUp);
    for (Entry& entry : entries_) entry.seconds = std::numeric_limits<double>::infinity();
  }
  /// Alternates over the configs, so that a change of the machine's pace meets all of them.
  void run_round() {
    for (Entry& entry : entries_) {
      for (double spent_s = 0.0; spent_s < kTurnSeconds;) {
        const double seconds = call_->seconds_with(entry.config);
        entry.seconds = std::min(entry.seconds, seconds);
        spent_s += seconds;
      }
    }
  }
  /// Drops all but the first and those that take less than `factor` times the shortest time.
  void drop_slower_than(double factor) {
    const double limit = factor * entries_[fastest()].seconds;
    const auto is_slow = [&](const Entry& entry) { return entry.seconds > limit; };
    entries_.erase(std::remove_if(entries_.begin() + 1, entries_.end(), is_slow), entries_.end());
  }

  double seconds(std::size_t idx) const { return entries_[idx].seconds; }
  const LinearConfig& config(std::size_t idx) const { return entries_[idx].config; }
  std::size_t fastest() const {
    const auto is_faster = [](const Entry& a, const Entry& b) { return a.seconds < b.seconds; };
    return static_cast<std::size_t>(std::min_element(entries_.begin(), entries_.end(), is_faster) - entries_.begin());
  }

 private:
  struct Entry {
    LinearConfig config = {};
    double seconds = std::numeric_limits<double>::infinity();
  };

  const LinearCall* call_;
  std::vector<Entry> entries_;
};

/// The fields of the programs that differ.
std::vector<ProgramChange> changes_between(const LinearConfig& before, const LinearConfig& after) {
  std::vector<ProgramChange> changes;
  const Tree old_tree = to_tree(before);
  const Tree new_tree = to_tree(after);
  for (const char* program : {"program_config", "program_rule"}) {
    const Tree* old_program = old_tree.find(program);
    if (old_program == nullptr) continue;
    for (const auto& [field, value] : old_program->as_object(program)) {
      const Tree& now = *new_tree.find(program)->find(field);
      if (now != value)
        changes.push_back({.program = program, .field = field, .before = value.as_integer(field), .after = now.as_integer(field)});
    }
  }
  return changes;
}

/// Searches the program of one product.
TunedLinear tune_call(const LinearCall& call, const std::vector<std::int64_t>& layers, const TuneOptions& options) {
  TunedLinear tuned = {.layers = layers, .name = call.name, .num_rows = call.sizes().m};
  const auto run_round = [&](Measurement& measurement) {
    if (options.before_measuring) options.before_measuring(tuned.path());
    measurement.run_round();
  };
  if (options.before_measuring) options.before_measuring(tuned.path());
  Measurement all(call, Candidates(call.config, call.sizes()).take());
  all.warm_up();
  for (int round = 0; round < options.repetitions; ++round) {
    run_round(all);
    all.drop_slower_than(kSlowRound);
  }
  tuned.before_s = tuned.after_s = all.seconds(0);
  const std::size_t best = all.fastest();
  if (best == 0) return tuned;
  // The fastest of many is partly the luckiest: it must win again, side by side.
  Measurement pair(call, {call.config, all.config(best)});
  for (int round = 0; round < options.repetitions; ++round) run_round(pair);
  tuned.before_s = tuned.after_s = pair.seconds(0);
  if (pair.seconds(1) > (1.0 - kLeastGain) * pair.seconds(0)) return tuned;
  tuned.after_s = pair.seconds(1);
  tuned.changes = changes_between(call.config, all.config(best));
  return tuned;
}

/// The member of that name, made when it is missing.
Tree& member(Tree& object, std::string_view name) {
  Tree* found = object.find(name);
  return found != nullptr ? *found : object.set(std::string(name), Tree(Tree::Object{}));
}

/// Sets the fields of a product below its layer; `name` is dotted.
void add_changes(Tree& layer, std::string_view name, const std::vector<ProgramChange>& changes) {
  Tree* node = &layer;
  for (std::size_t begin = 0; begin < name.size();) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    node = &member(*node, name.substr(begin, end - begin));
    begin = end + 1;
  }
  for (const ProgramChange& change : changes) member(*node, change.program).set(change.field, Tree(change.after));
}

}  // namespace

std::string TunedLinear::path() const {
  Tree list(Tree::Object{});
  for (const std::int64_t layer : layers) list.set(std::to_string(layer), Tree(true));
  const Tree folded = fold_ranges(list);
  std::string ranges;
  for (const auto& [range, value] : folded.as_object("layers")) ranges += (ranges.empty() ? "" : ",") + range;
  return fmt::format("model.layers.{}.{}", ranges, name);
}

std::vector<TunedLinear> tune(Runner& runner, Mode mode, const TuneOptions& options) {
  const Model::Config& config = mode == Mode::prefill ? runner.prefill_run_config() : runner.decode_run_config();
  const std::vector<std::vector<std::int64_t>> kinds = layers_by_kind(config.layers);
  std::vector<std::vector<LinearCall>> calls;
  {
    LinearRecorder recorder(runner.device());
    for (std::size_t kind_idx = 0; kind_idx < kinds.size(); ++kind_idx)
      recorder.add_layer(config.layers[static_cast<std::size_t>(kinds[kind_idx].front())], kind_idx);
    run_pass(runner, mode, options);
    for (std::size_t kind_idx = 0; kind_idx < kinds.size(); ++kind_idx) calls.push_back(recorder.calls(kind_idx));
  }
  runner.reset();
  std::vector<TunedLinear> tuned;
  for (std::size_t kind_idx = 0; kind_idx < kinds.size(); ++kind_idx) {
    for (const LinearCall& call : calls[kind_idx]) tuned.push_back(tune_call(call, kinds[kind_idx], options));
  }
  return tuned;
}

Tree overlay_of(Mode mode, const std::vector<TunedLinear>& tuned) {
  std::map<std::int64_t, Tree> by_layer;
  for (const TunedLinear& linear : tuned) {
    if (linear.changes.empty()) continue;
    for (const std::int64_t layer : linear.layers) add_changes(by_layer[layer], linear.name, linear.changes);
  }
  Tree layers(Tree::Object{});
  for (auto& [layer, changes] : by_layer) layers.set(std::to_string(layer), std::move(changes));
  Tree model(Tree::Object{});
  if (!by_layer.empty()) model.set("layers", fold_ranges(layers));
  Tree overlay;
  overlay.set("mode", to_tree(mode));
  overlay.set("model", std::move(model));
  return overlay;
}

}  // namespace meshseek
