#include "base/thread_team.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "base/error.hpp"
#include "base/waiting.hpp"

namespace meshseek {
namespace {

/// CPUs of one member.
std::span<const int> cpus_of(const TeamPlace& place, std::size_t member_idx) {
  if (place.cpus.empty()) return {};
  return place.cpus[member_idx];
}

/// A place whose CPUs can be used: a worker could not report that they cannot.
const TeamPlace& checked(const TeamPlace& place) {
  if (!place.cpus.empty() && place.cpus.size() != place.num_threads) {
    throw Error(fmt::format("[bind] CPUs for {} of {} threads; expected some for each", place.cpus.size(), place.num_threads));
  }
  for (const std::vector<int>& cpus : place.cpus) CpuBinding{cpus};
  return place;
}

}  // namespace

ThreadTeam::ThreadTeam(const TeamPlace& place) : caller_(cpus_of(checked(place), 0)) {
  const std::size_t num_cpus = place.cpus.empty() ? usable_cpus().size() : place.num_threads;
  const std::size_t size = place.num_threads == 0 ? num_cpus : place.num_threads;
  num_spins_ = size <= num_cpus && !place.is_crowded ? kWaitSpins : 0;
  for (std::size_t member_idx = 1; member_idx < size; ++member_idx) {
    const std::span<const int> cpus = cpus_of(place, member_idx);
    workers_.emplace_back([this, member_idx, cpus = std::vector(cpus.begin(), cpus.end())] {
      const CpuBinding binding(cpus);
      work(member_idx);
    });
  }
}

ThreadTeam::~ThreadTeam() {
  stops_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
}

void ThreadTeam::run_piece(std::size_t member_idx) {
  const std::size_t begin = count_ * member_idx / num_pieces_;
  const std::size_t end = count_ * (member_idx + 1) / num_pieces_;
  try {
    if (begin < end) loop_.call(loop_.object, begin, end);
  } catch (...) {
    const std::lock_guard lock(error_mutex_);
    if (!first_error_) first_error_ = std::current_exception();
  }
}

void ThreadTeam::work(std::size_t member_idx) {
  std::uint32_t seen = 0;
  while (true) {
    seen = wait_while(generation_, seen, num_spins_);
    if (stops_.load(std::memory_order_relaxed)) return;
    if (member_idx < num_pieces_) run_piece(member_idx);
    if (num_running_.fetch_sub(1, std::memory_order_acq_rel) == 1) num_running_.notify_one();
  }
}

void ThreadTeam::run(std::size_t count, std::size_t grain, Loop loop) {
  if (count == 0) return;
  const std::size_t num_pieces = std::min(size(), std::max<std::size_t>(1, count / std::max<std::size_t>(1, grain)));
  if (num_pieces == 1) return loop.call(loop.object, 0, count);
  count_ = count;
  num_pieces_ = num_pieces;
  loop_ = loop;
  num_running_.store(static_cast<std::uint32_t>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  run_piece(0);
  std::uint32_t running = num_running_.load(std::memory_order_acquire);
  while (running != 0) running = wait_while(num_running_, running, num_spins_);
  if (first_error_) std::rethrow_exception(std::exchange(first_error_, nullptr));
}

}  // namespace meshseek
