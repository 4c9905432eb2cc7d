/// Choosing the next token from logits.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace meshseek {

/// Applied in this order: temperature, top_k, top_p (over what top_k left), min_p.
struct SamplingParams {
  double temperature = 0.0;  ///< 0: greedy, the largest logit, the lowest id among equals; everything below is then ignored
  std::int64_t top_k = 0;    ///< keep the k most probable tokens; 0: all
  double top_p = 1.0;        ///< keep the smallest set of most probable tokens whose probabilities sum up to top_p
  double min_p = 0.0;        ///< keep tokens with at least min_p times the probability of the best
  std::uint64_t seed = 0;
};

/// \throws Error naming the parameter and its range.
void check_sampling(const SamplingParams& params);

/// The splitmix64 generator: the same numbers on every platform, unlike the distributions of <random>.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  /// In [0, 1), 53 random bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  std::uint64_t state_;
};

/// One per sequence: equal seeds and equal logits give equal tokens.
class Sampler {
 public:
  /// \throws Error: see check_sampling().
  explicit Sampler(const SamplingParams& params);

  /// Id of the chosen token. A logit of -inf is never chosen. \throws Error on an empty row, a NaN, +inf, or when every logit is -inf.
  std::int64_t sample(std::span<const float> logits);

 private:
  struct Candidate {
    std::int64_t id = 0;
    double logit = 0.0;
    double weight = 0.0;  ///< proportional to the probability; 1 for the best
  };
  void keep_top_k();
  /// Brings the best candidates of those from `sorted` on to their places below `count`.
  void sort_best(std::size_t sorted, std::size_t count);
  void weigh();
  void keep_top_p();
  void keep_min_p();
  std::int64_t draw();

  SamplingParams params_;
  Random random_;
  std::vector<Candidate> candidates_;  ///< kept between calls for its memory
};

}  // namespace meshseek
