#include "generate/sampler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "ops/softmax.hpp"

namespace meshseek {
namespace {

void check_range(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return;
  throw Error(fmt::format("[sampling] {} is {}; expected a number from {} to {}", name, value, low, high));
}

/// The largest logit, after every logit has been checked.
double checked_maximum(std::span<const float> logits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (logits.empty()) throw Error("[sampling] there are no logits; expected one per token of the vocabulary");
  float best = -kInfinity;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (std::isnan(logits[id]) || logits[id] == kInfinity) {
      throw Error(fmt::format("[sampling] the logit of token {} is {}; expected a number below infinity; is the checkpoint damaged?", id,
                              logits[id]));
    }
    best = std::max(best, logits[id]);
  }
  if (best == -kInfinity) throw Error("[sampling] every logit is -inf; expected at least one token that may follow");
  return static_cast<double>(best);
}

}  // namespace

void check_sampling(const SamplingParams& params) {
  check_range("temperature", params.temperature, 0.0, 1e6);
  check_range("min_p", params.min_p, 0.0, 1.0);
  check_range("top_p", params.top_p, 0.0, 1.0);
  if (params.top_p == 0.0)
    throw Error("[sampling] top_p is 0, which keeps no token; expected more than 0; use a temperature of 0 for greedy choice");
  if (params.top_k < 0) throw Error(fmt::format("[sampling] top_k is {}; expected 0 (all tokens) or more", params.top_k));
}

std::uint64_t Random::next() {
  std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

Sampler::Sampler(const SamplingParams& params) : params_(params), random_(params.seed) { check_sampling(params); }

std::int64_t Sampler::sample(std::span<const float> logits) {
  checked_maximum(logits);
  if (params_.temperature == 0.0) return argmax(logits);
  candidates_.clear();
  for (std::size_t id = 0; id < logits.size(); ++id) {
    candidates_.push_back({.id = static_cast<std::int64_t>(id), .logit = static_cast<double>(logits[id])});
  }
  keep_top_k();
  weigh();
  keep_top_p();
  keep_min_p();
  return draw();
}

void Sampler::keep_top_k() {
  if (params_.top_k == 0) return;
  sort_best(0, static_cast<std::size_t>(params_.top_k));
  candidates_.resize(std::min(candidates_.size(), static_cast<std::size_t>(params_.top_k)));
}

void Sampler::sort_best(std::size_t sorted, std::size_t count) {
  // A total order, so that neither ties nor the order of the sums depend on the standard library.
  const auto before = [](const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; };
  const auto at = [&](std::size_t idx) { return candidates_.begin() + static_cast<std::ptrdiff_t>(std::min(idx, candidates_.size())); };
  std::partial_sort(at(sorted), at(count), candidates_.end(), before);
}

void Sampler::weigh() {
  double best = -std::numeric_limits<double>::infinity();
  for (const Candidate& candidate : candidates_) best = std::max(best, candidate.logit);
  for (Candidate& candidate : candidates_) candidate.weight = std::exp((candidate.logit - best) / params_.temperature);
}

void Sampler::keep_top_p() {
  if (params_.top_p >= 1.0) return;
  double total = 0.0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  double sum = 0.0;
  std::size_t num_kept = 0;
  // A few tokens make up most of the sum: sorting the whole vocabulary would cost more than the rest of a step.
  std::size_t num_sorted = params_.top_k > 0 ? candidates_.size() : 0;
  while (num_kept < candidates_.size() && sum < params_.top_p * total) {
    if (num_kept == num_sorted) {
      num_sorted = std::max<std::size_t>(64, 4 * num_kept);
      sort_best(num_kept, num_sorted);
    }
    sum += candidates_[num_kept++].weight;
  }
  candidates_.resize(std::max<std::size_t>(num_kept, 1));
}

void Sampler::keep_min_p() {
  if (params_.min_p > 0.0) std::erase_if(candidates_, [&](const Candidate& candidate) { return candidate.weight < params_.min_p; });
}

std::int64_t Sampler::draw() {
  double total = 0.0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  double rest = random_.uniform() * total;
  std::int64_t chosen = candidates_.front().id;
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight == 0.0) continue;
    chosen = candidate.id;
    if (rest < candidate.weight) break;
    rest -= candidate.weight;
  }
  return chosen;
}

}  // namespace meshseek
