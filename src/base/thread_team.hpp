/// A persistent team of threads that runs one loop at a time.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/cpu_binding.hpp"

namespace meshseek {

/// How many members a team has, and where they run.
struct TeamPlace {
  std::size_t num_threads = 0;              ///< 0: one per CPU that this process may use
  std::vector<std::vector<int>> cpus = {};  ///< those that each member may run on; empty: the scheduler decides
  bool is_crowded = false;                  ///< other teams run on the same cores: who waits gives the core away at once
};

/// Workers are created once and joined by the destructor. The calling thread takes part as member 0. Between two loops the workers spin for a
/// moment, so that loops that follow each other begin within a microsecond; then they sleep. A team of more threads than cores yields instead.
class ThreadTeam {
 public:
  /// \param num_threads total members including the caller; 0 means one per core that this process may use.
  explicit ThreadTeam(std::size_t num_threads = 0) : ThreadTeam(TeamPlace{.num_threads = num_threads}) {}
  /// The calling thread is bound as member 0 while the team lives. \throws Error: CPUs that may not be used, or not a set for each thread
  explicit ThreadTeam(const TeamPlace& place);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  std::size_t size() const { return workers_.size() + 1; }

  /// Calls body(begin, end) over disjoint pieces of [0, count) on all members and waits. Pieces never depend on timing.
  /// `grain` is the smallest piece worth a thread. The first exception thrown by a body is rethrown here. Allocates nothing.
  /// Not reentrant: body must not call parallel_for of the same team.
  template <class Body>
  void parallel_for(std::size_t count, std::size_t grain, const Body& body) {
    run(count, grain,
        {&body, [](const void* object, std::size_t begin, std::size_t end) { (*static_cast<const Body*>(object))(begin, end); }});
  }

 private:
  /// A borrowed callable.
  struct Loop {
    const void* object = nullptr;
    void (*call)(const void* object, std::size_t begin, std::size_t end) = nullptr;
  };

  void run(std::size_t count, std::size_t grain, Loop loop);
  void work(std::size_t member_idx);
  void run_piece(std::size_t member_idx);

  std::atomic<std::uint32_t> generation_ = 0;   ///< counts the loops; what a loop is, is written before it and read after it
  std::atomic<std::uint32_t> num_running_ = 0;  ///< workers that have not finished the loop
  std::atomic<bool> stops_ = false;
  std::size_t count_ = 0;
  std::size_t num_pieces_ = 0;
  Loop loop_ = {};
  std::mutex error_mutex_;
  std::exception_ptr first_error_;
  int num_spins_ = 0;
  CpuBinding caller_;
  std::vector<std::jthread> workers_;  ///< last: joined before what they use is destroyed
};

}  // namespace meshseek
