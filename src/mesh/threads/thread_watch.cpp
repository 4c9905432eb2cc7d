#include "mesh/threads/thread_watch.hpp"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>

#include "mesh/beat.hpp"
#include "mesh/last_words.hpp"
#include "mesh/standstill.hpp"

namespace meshseek {
namespace {

constexpr std::chrono::seconds kInterval(1);
/// Between two looks: the process was stopped, or suspended with the machine.
constexpr std::chrono::seconds kSuspension(3);

}  // namespace

ThreadWatch::ThreadWatch(std::span<const std::shared_ptr<Communicator>> devices) : devices_(devices.begin(), devices.end()) {
  if (const std::chrono::seconds limit = hang_limit(); limit.count() > 0)
    thread_ = std::jthread([this, limit](const std::stop_token& stop) { watch(stop, limit); });
}

void ThreadWatch::watch(const std::stop_token& stop, std::chrono::seconds limit) const {
  StandstillJudge judge(limit);
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  auto last_look = StandstillJudge::Clock::now();
  while (!stop.stop_requested()) {
    stopped.wait_for(lock, stop, kInterval, [] { return false; });
    const auto now = StandstillJudge::Clock::now();
    if (now - last_look > kSuspension) judge.forgive(now);
    last_look = now;
    for (const auto& device : devices_) judge.note(make_beat(Beat::Kind::alive, device->rank(), {}, device->progress()), now);
    if (const std::optional<std::string> found = judge.find(now)) {
      print_last_words(*found);
      _exit(kExitFailure);
    }
  }
}

}  // namespace meshseek
