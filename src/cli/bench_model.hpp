/// Measures prefill and decode of a loaded model against what the machine gives in the same run.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cli/calibration.hpp"
#include "cli/model_costs.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek::cli {

/// One row of the table: "pp512" or "tg64@4096".
struct BenchTest {
  bool is_prefill = true;
  std::int64_t num_tokens = 0;  ///< of the prompt, or generated one after the other
  std::int64_t depth = 0;       ///< tokens in the cache before, of each sequence
  std::int64_t batch = 1;       ///< sequences that are decoded at once
  std::string name() const;
};

/// Time of one kind of operator, summed over the layers.
struct OperatorTime {
  double seconds = 0.0;
  std::int64_t calls = 0;
};

struct BenchRow {
  BenchTest test = {};
  std::vector<double> tok_s = {};  ///< one per repetition
  PassCosts pass = {};             ///< of the whole prompt, or of one decode step (mean)
  double experts_touched = 0.0;    ///< distinct (layer, expert) pairs of the same pass
  MachineRates rates = {};         ///< mean of before and after
  double drift = 0.0;              ///< relative change of limit_time() with the rates of before and of after
  std::map<std::string, OperatorTime> breakdown = {};
  double breakdown_wall_s = 0.0;  ///< of the pass that was broken down

  double mean() const;
  double deviation() const;  ///< standard deviation; 0 for one repetition
  double bytes_per_token() const { return per_token(pass.bytes); }
  double flop_per_token() const { return per_token(pass.flop()); }
  double bf16_flop_per_token() const { return per_token(pass.bf16_flop); }
  double int16_flop_per_token() const { return per_token(pass.int16_flop); }
  double int8_flop_per_token() const { return per_token(pass.int8_flop); }
  /// Seconds a token that reading the bytes, and computing, take at least.
  double read_time() const { return bytes_per_token() / rates.read_bytes_s; }
  double compute_time() const {
    const double int16_s = pass.int16_flop > 0.0 ? pass.int16_flop / rates.int16_op_s : 0.0;
    return per_token(pass.fp32_flop / rates.fp32_flop_s + pass.bf16_flop / rates.bf16_flop_s + int16_s + pass.int8_flop / rates.int8_op_s);
  }
  double limit_time() const { return std::max(read_time(), compute_time()); }
  bool is_memory_bound() const { return read_time() >= compute_time(); }
  /// The rate that was reached of the rate that limits.
  double share() const;

 private:
  double per_token(double of_pass) const { return of_pass / static_cast<double>(test.is_prefill ? test.num_tokens : test.batch); }
};

struct BenchOptions {
  int num_reps = 3;
  bool breakdown = false;
  std::uint64_t seed = 0;
};

using RandomIds = std::function<std::vector<std::int64_t>(std::int64_t count)>;

/// More sequences of the length that the runner's own has, for a batch. Copies of it where every device has the caches of all; on a mesh of
/// several rows each has tokens of its own, because a copy stays on the device of its original, and the rows would not share out the users.
std::vector<Sequence> add_users(Runner& runner, std::int64_t count, const RandomIds& random_ids);

/// Runs one test: a round to warm up, the repetitions, and one more round that is watched (experts, operators) and not timed. When a rate
/// of the machine moves by more than 5 % meanwhile, the test is repeated, at most twice. Every token is another random one. At a depth, and
/// in decode, repetitions continue the sequences. Tokens per second are those of all sequences; the others of a batch are from add_users().
BenchRow run_bench(Runner& runner, const BenchTest& test, const BenchOptions& options, Calibration& calibration);

/// Tokens that the context must hold for a test.
std::int64_t tokens_needed(const BenchTest& test, const BenchOptions& options);

}  // namespace meshseek::cli
