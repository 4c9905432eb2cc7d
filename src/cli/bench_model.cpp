#include "cli/bench_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <random>
#include <set>
#include <unordered_map>

#include "base/stopwatch.hpp"
#include "cli/terminal.hpp"
#include "ops/capture.hpp"
#include "stage3_run/capture_writer.hpp"

namespace meshseek::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kMostDrift = 0.05;
constexpr int kMostTries = 3;
constexpr double kLongRound = 3.0;  ///< seconds: whoever waits longer is told how far it is
constexpr int kRounds = 2;          ///< besides the repetitions: one to warm up, one that is watched

/// Clocks every operator while it lives. Layers are summed up: "mla.wo (linear)".
class OperatorClock final : public OperatorRecorder {
 public:
  OperatorClock(Runner& runner, std::map<std::string, OperatorTime>& times) : device_(&runner.device()), times_(&times) {
    for (const Model::Config* config : {&runner.prefill_run_config(), &runner.decode_run_config()})
      for_each_operator_config(*config, "", [&](const auto& op, const std::string& path) { names_[&op] = without_numbers(path); });
    device_->set_recorder(this);
  }
  OperatorClock(const OperatorClock&) = delete;
  OperatorClock& operator=(const OperatorClock&) = delete;
  ~OperatorClock() override { device_->set_recorder(nullptr); }

  bool wants_values() const override { return false; }
  void start(const OperatorCall& call) override {
    const auto name = names_.find(call.config);
    current_ = name == names_.end() ? std::string(call.op) : fmt::format("{} ({})", name->second, call.op);
    start_ = Clock::now();
  }
  void finish(const CallValues&) override {
    OperatorTime& time = (*times_)[current_];
    time.seconds += seconds_since(start_);
    ++time.calls;
  }

 private:
  /// ".layers.3.mla.wo" -> "mla.wo"
  static std::string without_numbers(const std::string& path) {
    std::string name;
    for (std::size_t begin = 1; begin < path.size();) {
      const std::size_t end = std::min(path.find('.', begin), path.size());
      const std::string part = path.substr(begin, end - begin);
      if (part != "layers" && part.find_first_not_of("0123456789") != std::string::npos) name += (name.empty() ? "" : ".") + part;
      begin = end + 1;
    }
    return name;
  }

  Device* device_;
  std::map<std::string, OperatorTime>* times_;
  std::unordered_map<const void*, std::string> names_;
  std::string current_;
  Clock::time_point start_;
};

/// Distinct (layer, expert) pairs of one pass.
std::int64_t experts_of(const Model::Trace& trace) {
  std::int64_t count = 0;
  for (const auto& routing : trace.routing) {
    if (!routing) continue;
    const auto indices = routing->indices.data<std::int32_t>();
    count += static_cast<std::int64_t>(std::set<std::int32_t>(indices.begin(), indices.end()).size());
  }
  return count;
}

/// Runs `count` more tokens through the model.
void fill_sequence(Runner& runner, std::int64_t slot, std::int64_t count, const RandomIds& random_ids) {
  constexpr std::int64_t kChunk = 2048;
  for (std::int64_t filled = 0; filled < count; filled += kChunk) {
    check_interrupted();
    runner.prefill(random_ids(std::min(kChunk, count - filled)), Model::Logits::none, nullptr, slot);
  }
}

/// The rounds of one test.
class Rounds {
 public:
  Rounds(Runner& runner, const BenchTest& test, std::uint64_t seed) : runner_(runner), test_(test), random_(seed) {
    runner_.reset();
    const RandomIds ids = [this](std::int64_t count) { return random_ids(count); };
    fill_sequence(runner_, Runner::kOwn, test_.depth, ids);
    others_ = add_users(runner_, test_.batch - 1, ids);
  }

  /// Tokens per second of one round.
  double timed() {
    begin();
    const auto start = Clock::now();
    pass(nullptr);
    return static_cast<double>(test_.num_tokens * test_.batch) / seconds_since(start);
  }

  /// Mean number of distinct experts of a pass.
  double experts_touched() {
    begin();
    double experts = 0.0;
    pass(&experts);
    return test_.is_prefill ? experts : experts / static_cast<double>(test_.num_tokens);
  }

  double broken_down(std::map<std::string, OperatorTime>& times) {
    begin();
    const OperatorClock clock(runner_, times);
    const auto start = Clock::now();
    pass(nullptr);
    return seconds_since(start);
  }

 private:
  std::vector<std::int64_t> random_ids(std::int64_t count) {
    std::vector<std::int64_t> ids(static_cast<std::size_t>(count));
    for (std::int64_t& id : ids) id = static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(runner_.hf_config().vocab_size));
    return ids;
  }

  /// Prompts begin at their depth; decode goes on where it was.
  void begin() {
    check_interrupted();
    ids_ = random_ids(test_.num_tokens * test_.batch);
    if (test_.is_prefill && test_.depth == 0) runner_.reset();
  }

  void pass(double* experts) {
    if (test_.is_prefill) {
      Model::Trace trace;
      runner_.prefill(ids_, Model::Logits::last, experts == nullptr ? nullptr : &trace);
      if (experts != nullptr) *experts += static_cast<double>(experts_of(trace));
      return;
    }
    std::vector<std::int64_t> slots = {Runner::kOwn};
    for (const Sequence& other : others_) slots.push_back(other.slot());
    for (std::size_t first = 0; first < ids_.size(); first += slots.size()) {
      Model::Trace trace;
      runner_.decode(std::span(ids_).subspan(first, slots.size()), slots, experts == nullptr ? nullptr : &trace);
      if (experts != nullptr) *experts += static_cast<double>(experts_of(trace));
    }
  }

  Runner& runner_;
  BenchTest test_;
  std::mt19937_64 random_;
  std::vector<std::int64_t> ids_;
  std::vector<Sequence> others_;  ///< sequences besides the runner's own
};

double relative_change(double before, double after) { return std::abs(after - before) / std::min(before, after); }

MachineRates mean_of(const MachineRates& a, const MachineRates& b) {
  return {.read_bytes_s = (a.read_bytes_s + b.read_bytes_s) / 2.0,
          .fp32_flop_s = (a.fp32_flop_s + b.fp32_flop_s) / 2.0,
          .bf16_flop_s = (a.bf16_flop_s + b.bf16_flop_s) / 2.0,
          .int16_op_s = (a.int16_op_s + b.int16_op_s) / 2.0,
          .int8_op_s = (a.int8_op_s + b.int8_op_s) / 2.0,
          .has_tiles = a.has_tiles};
}

BenchRow run_once(Runner& runner, const BenchTest& test, const BenchOptions& options, Calibration& calibration) {
  BenchRow row = {.test = test};
  Rounds rounds(runner, test, options.seed);
  rounds.timed();
  const MachineRates before = calibration.measure();
  for (int rep = 0; rep < options.num_reps; ++rep) {
    row.tok_s.push_back(rounds.timed());
    if (static_cast<double>(test.num_tokens * test.batch) > kLongRound * row.tok_s.back())
      print_note(fmt::format("bench: {}, repetition {} of {}: {:.2f} tok/s", test.name(), rep + 1, options.num_reps, row.tok_s.back()));
  }
  const MachineRates after = calibration.measure();
  row.experts_touched = rounds.experts_touched();
  if (options.breakdown) row.breakdown_wall_s = rounds.broken_down(row.breakdown);
  const Model::Config& config = test.is_prefill ? runner.prefill_run_config() : runner.decode_run_config();
  const Tensor& cache = runner.state().layers.front().rows;
  const PassSize size = {.num_tokens = test.is_prefill ? test.num_tokens : 1,
                         .depth = test.is_prefill ? test.depth : test.depth + test.num_tokens * (options.num_reps + 1) / 2,
                         .batch = test.batch,
                         .absorbed = !test.is_prefill,
                         .experts_touched = row.experts_touched,
                         .cache_row_bytes = static_cast<std::int64_t>(cache.bytes().size()) / cache.dim(0)};
  row.pass = pass_costs(weight_costs(config, runner.hf_config()), runner.hf_config(), size);
  row.rates = before;
  const double limit_before = row.limit_time();
  row.rates = after;
  row.drift = relative_change(limit_before, row.limit_time());
  row.rates = mean_of(before, after);
  return row;
}

}  // namespace

std::vector<Sequence> add_users(Runner& runner, std::int64_t count, const RandomIds& random_ids) {
  std::vector<Sequence> users;
  users.reserve(static_cast<std::size_t>(count));
  const std::int64_t depth = runner.num_tokens();
  for (std::int64_t idx = 0; idx < count; ++idx) {
    if (runner.mesh().rows == 1) {
      users.push_back(runner.copy_sequence());
      continue;
    }
    users.push_back(runner.create_sequence());
    fill_sequence(runner, users.back().slot(), depth, random_ids);
  }
  return users;
}

std::string BenchTest::name() const {
  return fmt::format("{}{}{}", is_prefill ? "pp" : "tg", num_tokens, depth > 0 ? fmt::format("@{}", depth) : "");
}

double BenchRow::mean() const { return std::accumulate(tok_s.begin(), tok_s.end(), 0.0) / static_cast<double>(tok_s.size()); }

double BenchRow::deviation() const {
  if (tok_s.size() < 2) return 0.0;
  double sum = 0.0;
  for (const double value : tok_s) sum += (value - mean()) * (value - mean());
  return std::sqrt(sum / static_cast<double>(tok_s.size() - 1));
}

double BenchRow::share() const { return mean() * std::max(read_time(), compute_time()); }

std::int64_t tokens_needed(const BenchTest& test, const BenchOptions& options) {
  const bool starts_anew = test.is_prefill && test.depth == 0;
  const std::int64_t rounds = starts_anew ? 1 : options.num_reps + kRounds + (options.breakdown ? 1 : 0);
  return test.depth + rounds * test.num_tokens;
}

BenchRow run_bench(Runner& runner, const BenchTest& test, const BenchOptions& options, Calibration& calibration) {
  BenchRow best;
  for (int attempt = 0; attempt < kMostTries; ++attempt) {
    BenchRow row = run_once(runner, test, options, calibration);
    if (attempt == 0 || row.drift < best.drift) best = std::move(row);
    if (best.drift <= kMostDrift) break;
  }
  return best;
}

}  // namespace meshseek::cli
