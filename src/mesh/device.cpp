#include "mesh/device.hpp"

#include "mesh/communicator.hpp"

namespace meshseek {
namespace {

/// Where the system does not tell the size of the L2 cache.
constexpr std::int64_t kAssumedL2Bytes = 1 << 20;

}  // namespace

Device::Device(const TeamPlace& place, std::int64_t l2_bytes, std::shared_ptr<Communicator> communicator)
    : communicator_(communicator ? std::move(communicator) : std::make_shared<Communicator>()),
      team_(place),
      description_(describe(team_.size(), l2_bytes)),
      l1_(static_cast<std::size_t>(description_.num_cores * description_.l2_bytes)) {}

Device::~Device() = default;

void Device::enter_operator(std::string_view op) const { communicator_->progress().enter_operator(op.data()); }
void Device::enter_layer(std::int64_t layer_idx) { communicator_->progress().enter_layer(layer_idx); }

DeviceDescription Device::describe(std::size_t num_threads, std::int64_t l2_bytes) {
  DeviceDescription description = probe_device();
  description.num_cores = static_cast<std::int64_t>(num_threads);
  if (l2_bytes > 0) description.l2_bytes = l2_bytes;
  if (description.l2_bytes == 0) description.l2_bytes = kAssumedL2Bytes;
  return description;
}

}  // namespace meshseek
