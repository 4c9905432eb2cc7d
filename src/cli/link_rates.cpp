#include "cli/link_rates.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#include "cli/bench_convert.hpp"
#include "mesh/threads/thread_mesh.hpp"

namespace meshseek::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 3;
constexpr int kPings = 200;
constexpr int kBlocks = 4;
constexpr std::size_t kBlockBytes = std::size_t{4} << 20;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// One end of the link.
class End {
 public:
  End(Communicator& communicator, std::int64_t peer, bool is_first) : communicator_(communicator), peer_(peer), is_first_(is_first) {}

  double ping_seconds(std::span<std::byte> word) {
    const auto start = Clock::now();
    for (int ping = 0; ping < kPings; ++ping) {
      if (is_first_) communicator_.send(peer_, MessageTag::send, word);
      communicator_.receive(peer_, MessageTag::send, word);
      if (!is_first_) communicator_.send(peer_, MessageTag::send, word);
    }
    return seconds_since(start) / (2.0 * kPings);
  }

  /// Of each of `count` messages, without what the last one takes to arrive. \param latency of the answer
  double stream_seconds(std::span<std::byte> bytes, int count, double latency) {
    const auto start = Clock::now();
    for (int idx = 0; idx < count; ++idx)
      is_first_ ? communicator_.send(peer_, MessageTag::send, bytes) : communicator_.receive(peer_, MessageTag::send, bytes);
    if (is_first_) {
      communicator_.receive(peer_, MessageTag::barrier, {});
    } else {
      communicator_.send(peer_, MessageTag::barrier, {});
    }
    return std::max(0.0, seconds_since(start) - 2.0 * latency) / count;
  }

 private:
  Communicator& communicator_;
  std::int64_t peer_;
  bool is_first_;
};

}  // namespace

LinkRates measure_link(Communicator& communicator, std::int64_t peer, bool is_first) {
  End end(communicator, peer, is_first);
  std::vector<std::byte> block(kBlockBytes);
  const std::span<std::byte> word = std::span(block).first(sizeof(double));
  std::vector<double> latencies;
  std::vector<double> messages;
  std::vector<double> rates;
  for (int round = 0; round < kRounds; ++round) {
    latencies.push_back(end.ping_seconds(word));
    messages.push_back(end.stream_seconds(word, kPings, latencies.back()));
    rates.push_back(static_cast<double>(kBlockBytes) / end.stream_seconds(block, kBlocks, latencies.back()));
  }
  return {.bytes_s = median(rates), .latency_s = median(latencies), .message_s = median(messages)};
}

LinkRates measure_local_link() {
  const auto links = make_thread_mesh({.rows = 1, .cols = 2});
  const std::jthread other([&] { measure_link(*links[1], 0, false); });
  return measure_link(*links[0], 1, true);
}

}  // namespace meshseek::cli
