#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "base/amx_permission.hpp"
#include "mesh/mesh_device.hpp"

namespace meshseek {

DeviceDescription probe_device() {
  DeviceDescription device;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) device.num_cores = std::max(1, CPU_COUNT(&set));
  device.l2_bytes = std::max(0L, ::sysconf(_SC_LEVEL2_CACHE_SIZE));
  if (__builtin_cpu_supports("avx2") != 0) device.isa = "avx2";
  if (__builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0) device.isa = "avx512";
  if (device.isa == "avx512" && __builtin_cpu_supports("avx512vnni") != 0) device.isa = "avx512_vnni";
  if (amx_is_permitted()) device.isa = "amx";
  return device;
}

}  // namespace meshseek
