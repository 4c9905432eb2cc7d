/// A mesh of devices with one thread each, for tests.
#pragma once
#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "mesh/communicator.hpp"
#include "mesh/device.hpp"
#include "mesh/threads/thread_mesh.hpp"

namespace meshseek::testing {

/// The devices outlive what was computed on them.
class TestMesh {
 public:
  explicit TestMesh(const MeshShape& shape, std::size_t threads_per_device = 1) : errors_(static_cast<std::size_t>(shape.num_devices())) {
    for (auto& communicator : make_thread_mesh(shape)) devices_.push_back(std::make_unique<Device>(threads_per_device, 0, communicator));
  }

  std::int64_t size() const { return static_cast<std::int64_t>(devices_.size()); }
  Device& device(std::int64_t rank) { return *devices_[static_cast<std::size_t>(rank)]; }

  /// Calls body(device) for all devices at once, each on its own thread. \return what they return, by rank
  /// \throws what the device of the lowest rank threw; the others' errors are in errors()
  template <class Body>
  auto run(const Body& body) {
    using Result = decltype(body(*devices_.front()));
    std::vector<Result> results(devices_.size());
    {
      std::vector<std::jthread> threads;
      for (std::size_t rank = 0; rank < devices_.size(); ++rank) {
        threads.emplace_back([&, rank] {
          try {
            results[rank] = body(*devices_[rank]);
          } catch (const std::exception& error) {
            errors_[rank] = std::current_exception();
            devices_[rank]->communicator().fail(error.what());
          }
        });
      }
    }
    for (const std::exception_ptr& error : errors_) {
      if (error) std::rethrow_exception(error);
    }
    return results;
  }
  const std::vector<std::exception_ptr>& errors() const { return errors_; }

 private:
  std::vector<std::unique_ptr<Device>> devices_;
  std::vector<std::exception_ptr> errors_;
};

}  // namespace meshseek::testing
