/// The other devices as threads of this process, which ends when one of them hangs.
#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "mesh/placement.hpp"
#include "mesh/threads/thread_watch.hpp"
#include "stage3_run/device_runner.hpp"
#include "stage3_run/other_devices.hpp"

namespace meshseek {

/// One runner thread for each device from rank 1 on; it makes its device, so that memory and team are where it is bound.
class DeviceThreads final : public OtherDevices {
 public:
  /// They load side by side; finish() waits for that, too. \param places, communicators by rank, that of the first device among them
  DeviceThreads(const RunPlan& plan, std::span<const DevicePlace> places, std::span<const std::shared_ptr<Communicator>> communicators);
  ~DeviceThreads() override;

  void start(const Command& command) override;
  void finish(std::exception_ptr own) override;
  std::vector<DeviceTrace> collect_traces() override;

 private:
  /// `posted` commands wait for the thread, `done` were executed; loading is the first. What lies beside them is written before they are counted.
  struct Worker {
    TeamPlace place = {};
    std::shared_ptr<Communicator> communicator = {};
    std::unique_ptr<DeviceRunner> runner = {};
    std::optional<DeviceError> error = {};
    std::atomic<std::uint32_t> posted = 1;
    std::atomic<std::uint32_t> done = 0;
    std::jthread thread = {};
  };
  void work(Worker& worker);
  template <class Work>
  void guarded(Worker& worker, const Work& work);

  ThreadWatch watch_;
  RunPlan plan_;
  std::shared_ptr<Communicator> front_;  ///< of the first device
  Command command_ = {};
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace meshseek
