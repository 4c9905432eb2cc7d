/// A persistent team of threads that runs one loop at a time.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace meshseek {

/// Workers are created once and joined by the destructor. The calling thread takes part as member 0.
class ThreadTeam {
 public:
  /// \param num_threads total members including the caller; 0 means one per core that this process may use.
  explicit ThreadTeam(std::size_t num_threads = 0);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  std::size_t size() const { return workers_.size() + 1; }

  /// Calls body(begin, end) over disjoint pieces of [0, count) on all members and waits. Pieces never depend on timing.
  /// `grain` is the smallest piece worth a thread. The first exception thrown by a body is rethrown here.
  /// Not reentrant: body must not call parallel_for of the same team.
  void parallel_for(std::size_t count, std::size_t grain, const std::function<void(std::size_t, std::size_t)>& body);

 private:
  void work(std::stop_token stop, std::size_t member_idx);
  void run_piece(std::size_t member_idx);

  std::mutex mutex_;
  std::condition_variable_any start_;
  std::condition_variable done_;
  std::size_t generation_ = 0;
  std::size_t num_running_ = 0;
  std::size_t count_ = 0;
  std::size_t num_pieces_ = 0;
  const std::function<void(std::size_t, std::size_t)>* body_ = nullptr;
  std::exception_ptr first_error_;
  std::vector<std::jthread> workers_;  ///< last: joined before what they use is destroyed
};

}  // namespace meshseek
