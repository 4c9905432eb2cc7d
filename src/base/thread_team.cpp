#include "base/thread_team.hpp"

#include <sched.h>

#include <algorithm>
#include <utility>

namespace meshseek {
namespace {

std::size_t usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace

ThreadTeam::ThreadTeam(std::size_t num_threads) {
  const std::size_t size = num_threads == 0 ? usable_cores() : num_threads;
  for (std::size_t member_idx = 1; member_idx < size; ++member_idx) {
    workers_.emplace_back([this, member_idx](std::stop_token stop) { work(std::move(stop), member_idx); });
  }
}

ThreadTeam::~ThreadTeam() {
  for (std::jthread& worker : workers_) worker.request_stop();
}

void ThreadTeam::run_piece(std::size_t member_idx) {
  const std::size_t begin = count_ * member_idx / num_pieces_;
  const std::size_t end = count_ * (member_idx + 1) / num_pieces_;
  try {
    if (begin < end) (*body_)(begin, end);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!first_error_) first_error_ = std::current_exception();
  }
}

void ThreadTeam::work(std::stop_token stop, std::size_t member_idx) {
  std::size_t seen = 0;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      if (!start_.wait(lock, stop, [&] { return generation_ != seen; })) return;
      seen = generation_;
    }
    if (member_idx < num_pieces_) run_piece(member_idx);
    {
      const std::lock_guard lock(mutex_);
      if (--num_running_ == 0) done_.notify_one();
    }
  }
}

void ThreadTeam::parallel_for(std::size_t count, std::size_t grain, const std::function<void(std::size_t, std::size_t)>& body) {
  if (count == 0) return;
  const std::size_t num_pieces = std::min(size(), std::max<std::size_t>(1, count / std::max<std::size_t>(1, grain)));
  if (num_pieces == 1) return body(0, count);
  {
    const std::lock_guard lock(mutex_);
    count_ = count;
    num_pieces_ = num_pieces;
    body_ = &body;
    first_error_ = nullptr;
    num_running_ = workers_.size();
    ++generation_;
  }
  start_.notify_all();
  run_piece(0);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return num_running_ == 0; });
  if (first_error_) std::rethrow_exception(std::exchange(first_error_, nullptr));
}

}  // namespace meshseek
