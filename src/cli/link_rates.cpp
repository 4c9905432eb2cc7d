#include "cli/link_rates.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#include "base/stopwatch.hpp"
#include "cli/bench_convert.hpp"
#include "mesh/threads/thread_mesh.hpp"

namespace meshseek::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRepetitions = 3;
constexpr int kWordRounds = 200;
constexpr int kBlockRounds = 4;
constexpr int kFurther = 4;  ///< messages after the first
constexpr std::size_t kWordBytes = sizeof(double);
constexpr std::size_t kBlockBytes = std::size_t{4} << 20;

/// A moment in which two devices send each other `count` messages at once, as in a collective: its mean time over `rounds`. \param mine, others of equal size
double exchange_seconds(Communicator& communicator, std::int64_t peer, std::span<const std::byte> mine, std::span<std::byte> others,
                        int count, int rounds) {
  std::vector<Ticket> sends;
  const auto start = Clock::now();
  for (int round = 0; round < rounds; ++round) {
    sends.clear();
    for (int idx = 0; idx < count; ++idx) sends.push_back(communicator.start_send(peer, MessageTag::send, mine));
    for (int idx = 0; idx < count; ++idx) communicator.receive(peer, MessageTag::send, others);
    for (const Ticket& ticket : sends) communicator.wait(ticket);
  }
  return seconds_since(start) / rounds;
}

}  // namespace

LinkRates measure_link(Communicator& communicator, std::int64_t peer) {
  const std::vector<std::byte> mine(kBlockBytes);
  std::vector<std::byte> others(kBlockBytes);
  const auto seconds = [&](std::size_t bytes, int count, int rounds) {
    return exchange_seconds(communicator, peer, std::span(mine).first(bytes), std::span(others).first(bytes), count, rounds);
  };
  std::vector<double> latencies;
  std::vector<double> messages;
  std::vector<double> rates;
  for (int repetition = 0; repetition < kRepetitions; ++repetition) {
    latencies.push_back(seconds(kWordBytes, 1, kWordRounds));
    messages.push_back(std::max(0.0, seconds(kWordBytes, 1 + kFurther, kWordRounds) - latencies.back()) / kFurther);
    rates.push_back(static_cast<double>(kBlockBytes) / std::max(1e-9, seconds(kBlockBytes, 1, kBlockRounds) - latencies.back()));
  }
  return {.bytes_s = median(rates), .latency_s = median(latencies), .message_s = median(messages)};
}

LinkRates measure_local_link() {
  const auto links = make_thread_mesh({.rows = 1, .cols = 2});
  const std::jthread other([&] { measure_link(*links[1], 0); });
  return measure_link(*links[0], 1);
}

}  // namespace meshseek::cli
