#include "base/cpu_binding.hpp"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/error.hpp"

namespace meshseek {
namespace {

bool bind(pid_t thread, std::span<const int> cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) {
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(static_cast<std::size_t>(cpu), &set);
  }
  return ::sched_setaffinity(thread, sizeof(set), &set) == 0;
}

}  // namespace

std::vector<int> usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  const bool known = ::sched_getaffinity(0, sizeof(set), &set) == 0;
  if (known) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
    }
  }
  const unsigned assumed = known ? 1 : std::max(1U, std::thread::hardware_concurrency());
  for (unsigned cpu = 0; cpus.size() < assumed; ++cpu) cpus.push_back(static_cast<int>(cpu));
  return cpus;
}

CpuBinding::CpuBinding(std::span<const int> cpus) {
  if (cpus.empty()) return;
  before_ = usable_cpus();
  thread_ = ::gettid();
  if (bind(thread_, cpus)) return;
  throw Error(fmt::format("[bind] CPUs {} cannot be used by this process: {}; leave --bind out or choose none", fmt::join(cpus, ","),
                          std::strerror(errno)));
}

CpuBinding::~CpuBinding() {
  if (!before_.empty()) bind(thread_, before_);
}

}  // namespace meshseek
