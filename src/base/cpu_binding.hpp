/// On which CPUs a thread may run.
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <span>
#include <vector>

namespace meshseek {

/// Numbers of the CPUs that the calling thread may use, ascending; at least one.
std::vector<int> usable_cpus();

/// Keeps the calling thread on some CPUs; the destructor, in whatever thread, gives it back those it had.
class CpuBinding {
 public:
  /// \param cpus empty: the thread stays as it is
  /// \throws Error: none of them may be used
  explicit CpuBinding(std::span<const int> cpus);
  CpuBinding(const CpuBinding&) = delete;
  CpuBinding& operator=(const CpuBinding&) = delete;
  ~CpuBinding();

 private:
  pid_t thread_ = 0;
  std::vector<int> before_;
};

}  // namespace meshseek
