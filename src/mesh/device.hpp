/// A device at run time: a thread team, its fast memory, and an observer of the operators that run on it.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <memory_resource>
#include <string>
#include <string_view>
#include <utility>

#include "base/thread_team.hpp"
#include "mesh/dram_pool.hpp"
#include "mesh/l1_arena.hpp"
#include "mesh/mesh_device.hpp"
#include "tensor/tensor.hpp"

namespace meshseek {

class Communicator;      // mesh/communicator.hpp
class OperatorRecorder;  // ops/capture.hpp

/// One executed operator, for the operator log.
struct OpRecord {
  std::string_view op;  ///< "linear", "flash_mla_prefill", ...
  std::string detail;   ///< shapes and the kernel or form that ran
  std::string plan;     ///< how the config cut the work up; empty for operators that have no choice
  std::string state;    ///< what grows from call to call and is no part of the plan: "context 7"
};

class Device {
 public:
  /// \param num_threads 0: one per usable core; \param l2_bytes per core, 0: as probed
  /// \param communicator door to the other devices of its mesh; null: alone in a 1x1 mesh
  explicit Device(std::size_t num_threads = 0, std::int64_t l2_bytes = 0, std::shared_ptr<Communicator> communicator = nullptr)
      : Device(TeamPlace{.num_threads = num_threads}, l2_bytes, std::move(communicator)) {}
  /// The calling thread is member 0 of its team. \throws Error: CPUs that this process may not use
  explicit Device(const TeamPlace& place, std::int64_t l2_bytes = 0, std::shared_ptr<Communicator> communicator = nullptr);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  ThreadTeam& team() { return team_; }
  /// As stage 2 sees it; num_cores is the size of the team.
  const DeviceDescription& description() const { return description_; }

  /// Memory of activations with buffer_type L1.
  L1Arena& l1() { return l1_; }
  /// A static decode config plans the arena for one sequence: as many in one step get as much room each.
  void make_room(std::size_t num_sequences) {
    l1_.grow(num_sequences * static_cast<std::size_t>(description_.num_cores * description_.l2_bytes));
  }
  /// Memory of large results in DRAM.
  DramPool& dram() { return dram_; }
  /// Memory for what an operator needs while it runs: recycled, so that a step that is like the one before allocates nothing. Thread-safe.
  std::pmr::memory_resource& scratch() { return dram_.resource(); }
  /// Bytes of main memory that operators have asked for in all their results so far.
  std::int64_t dram_bytes_allocated() const { return dram_bytes_allocated_; }
  void count_dram_bytes(std::int64_t bytes) { dram_bytes_allocated_ += bytes; }

  /// The mesh, this device's place in it, and the way to the other devices.
  Communicator& communicator() { return *communicator_; }
  /// What runs now, for the message when a device of the mesh fails. \param op a literal
  void enter_operator(std::string_view op) const;
  void enter_layer(std::int64_t layer_idx);

  /// Called once per operator, on the calling thread, before it runs. Empty: no log.
  void set_observer(std::function<void(const OpRecord&)> observer) { observer_ = std::move(observer); }
  bool is_observed() const { return static_cast<bool>(observer_); }
  void observe(const OpRecord& record) const { observer_(record); }

  /// Told of every operator with its inputs and outputs; null (the default): nobody. Not owned.
  void set_recorder(OperatorRecorder* recorder) { recorder_ = recorder; }
  OperatorRecorder* recorder() const { return recorder_; }

 private:
  static DeviceDescription describe(std::size_t num_threads, std::int64_t l2_bytes);

  std::shared_ptr<Communicator> communicator_;
  ThreadTeam team_;
  DeviceDescription description_;
  L1Arena l1_;
  DramPool dram_;
  std::atomic<std::int64_t> dram_bytes_allocated_ = 0;
  std::function<void(const OpRecord&)> observer_;
  OperatorRecorder* recorder_ = nullptr;
};

}  // namespace meshseek
