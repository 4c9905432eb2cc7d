/// The other devices as processes, which wait for messages from the front's.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "mesh/communicator.hpp"
#include "stage3_run/device_runner.hpp"
#include "stage3_run/other_devices.hpp"

namespace meshseek {

/// The front's side; lives from the moment in which the processes have met. The destructor lets the others go.
///
/// finish() does not wait: a process that fails ends all of them (Communicator::fail).
class RemoteDevices final : public OtherDevices {
 public:
  explicit RemoteDevices(std::shared_ptr<Communicator> communicator) : communicator_(std::move(communicator)) {}
  ~RemoteDevices() override;

  /// They load, each its own pieces. \param capacity tokens of a sequence
  void load(std::int64_t capacity);
  void start(const Command& command) override;
  void finish(std::exception_ptr own) override;
  std::vector<DeviceTrace> collect_traces() override;

 private:
  std::shared_ptr<Communicator> communicator_;
};

/// The others' side: waits until they are told to load. \return capacity of a sequence; unset: they are not needed
std::optional<std::int64_t> wait_for_load(Communicator& communicator);
/// Does what the front says until it has gone. \throws whatever a command throws
void serve_commands(DeviceRunner& runner, Communicator& communicator);

}  // namespace meshseek
