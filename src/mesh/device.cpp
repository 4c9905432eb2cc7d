#include "mesh/device.hpp"

namespace meshseek {
namespace {

/// Where the system does not tell the size of the L2 cache.
constexpr std::int64_t kAssumedL2Bytes = 1 << 20;

}  // namespace

DeviceDescription Device::describe(std::size_t num_threads, std::int64_t l2_bytes) {
  DeviceDescription description = probe_device();
  description.num_cores = static_cast<std::int64_t>(num_threads);
  if (l2_bytes > 0) description.l2_bytes = l2_bytes;
  if (description.l2_bytes == 0) description.l2_bytes = kAssumedL2Bytes;
  return description;
}

}  // namespace meshseek
