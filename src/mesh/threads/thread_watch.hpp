/// Watches the devices of one process: those that will never go on end it, with one line that names the device.
#pragma once
#include <chrono>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "mesh/communicator.hpp"

namespace meshseek {

/// A thread that looks once a second at what the devices do, with the judge of ranks (mesh/standstill.hpp) and its limit. What it finds it prints, and the
/// process ends with exit code 1: a device that loops can be told nothing.
class ThreadWatch {
 public:
  /// \param devices of one mesh, by rank  \throws Error when MESHSEEK_HANG_LIMIT_S is no number of seconds
  explicit ThreadWatch(std::span<const std::shared_ptr<Communicator>> devices);

 private:
  void watch(const std::stop_token& stop, std::chrono::seconds limit) const;

  std::vector<std::shared_ptr<Communicator>> devices_;
  std::jthread thread_;  ///< last: joined before what it uses is destroyed
};

}  // namespace meshseek
