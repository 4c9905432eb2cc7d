/// The devices of a mesh besides the first one, as its front sees them.
#pragma once
#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <vector>

#include "mesh/communicator.hpp"
#include "mesh/mesh_shape.hpp"
#include "stage3_run/command.hpp"
#include "stage3_run/trace.hpp"

namespace meshseek {

class OtherDevices {
 public:
  virtual ~OtherDevices() = default;
  /// They begin to execute a command, whose ids and slots must live until finish().
  virtual void start(const Command& command) = 0;
  /// Waits until they have executed it, or cannot. \param own what the first device has thrown, if anything
  /// \throws Error: what went wrong first on any device, named with the device
  virtual void finish(std::exception_ptr own) = 0;
  /// Ends the traces of all. \throws Error as above
  virtual std::vector<DeviceTrace> collect_traces() = 0;
};

/// What a device has thrown.
struct DeviceError {
  std::int64_t rank = 0;
  std::exception_ptr error = {};
  std::string where = {};  ///< what it did then: "linear, layer 3"; empty: nothing worth telling
};

/// What a device has just thrown, with the operator and layer in which it did.
DeviceError error_in(const Communicator& communicator, std::exception_ptr error);

/// The message of any exception.
std::string message_of(const std::exception_ptr& error);
/// Throws the cause among what several devices have thrown, named with its device and where that was; that another device has failed
/// (MeshError) is a cause only where nothing else is known. Nothing when there are no errors.
void throw_cause(std::span<const DeviceError> errors, const MeshShape& mesh);

}  // namespace meshseek
