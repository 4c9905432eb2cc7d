#include "cli/link_rates.hpp"

#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#include "cli/bench_convert.hpp"
#include "mesh/threads/thread_mesh.hpp"

namespace meshseek::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 5;
constexpr int kPings = 500;
constexpr int kBlocks = 8;
constexpr std::size_t kBlockBytes = std::size_t{4} << 20;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Both devices call this; `is_first` speaks first.
double ping_seconds(Communicator& link, bool is_first, std::span<std::byte> word) {
  const std::int64_t peer = is_first ? 1 : 0;
  const auto start = Clock::now();
  for (int ping = 0; ping < kPings; ++ping) {
    if (is_first) link.send(peer, MessageTag::send, word);
    link.receive(peer, MessageTag::send, word);
    if (!is_first) link.send(peer, MessageTag::send, word);
  }
  return seconds_since(start) / (2.0 * kPings);
}

double block_seconds(Communicator& link, bool is_first, std::span<std::byte> block) {
  const std::int64_t peer = is_first ? 1 : 0;
  const auto start = Clock::now();
  for (int idx = 0; idx < kBlocks; ++idx) is_first ? link.send(peer, MessageTag::send, block) : link.receive(peer, MessageTag::send, block);
  const Ticket done = link.start_send(peer, MessageTag::barrier, {});
  link.receive(peer, MessageTag::barrier, {});
  link.wait(done);
  return seconds_since(start) / kBlocks;
}

LinkRates measure(Communicator& link, bool is_first) {
  std::vector<std::byte> block(kBlockBytes);
  std::vector<double> latencies;
  std::vector<double> rates;
  for (int round = 0; round < kRounds; ++round) {
    latencies.push_back(ping_seconds(link, is_first, std::span(block).first(sizeof(double))));
    rates.push_back(static_cast<double>(kBlockBytes) / block_seconds(link, is_first, block));
  }
  return {.bytes_s = median(rates), .latency_s = median(latencies)};
}

}  // namespace

LinkRates measure_local_link() {
  const auto links = make_thread_mesh({.rows = 1, .cols = 2});
  const std::jthread other([&] { measure(*links[1], false); });
  return measure(*links[0], true);
}

}  // namespace meshseek::cli
