/// Stage 3: a store and two model configs become a model that runs, on one device or on a mesh of them.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.hpp"
#include "config/tree.hpp"
#include "hf/hf_config.hpp"
#include "mesh/device.hpp"
#include "mesh/mesh_device.hpp"
#include "mesh/placement.hpp"
#include "modules/model/model.hpp"
#include "stage3_run/device_runner.hpp"
#include "stage3_run/other_devices.hpp"
#include "stage3_run/remote_devices.hpp"
#include "stage3_run/store_info.hpp"
#include "stage3_run/weight_loader.hpp"

namespace meshseek {

/// This process as the first of several, which have met: see mesh/mpi_mesh.hpp.
struct FrontProcess {
  std::shared_ptr<Communicator> communicator = {};
  std::shared_ptr<RemoteDevices> others = {};  ///< have not been told to load
  DevicePlace place = {};
};

struct RunnerOptions {
  std::size_t num_threads = 0;                                ///< of each device; 0: an equal share of the usable cores
  std::optional<Bind> bind = {};                              ///< unset: standard_bind()
  std::int64_t max_tokens = 0;                                ///< capacity of a sequence; 0: max_position_embeddings
  std::function<void(const LoadProgress&)> on_progress = {};  ///< while weights are loaded
  bool prefault = false;                                      ///< weights are read from the disk while they are loaded, not on first use
  bool strict = false;                                        ///< a config that was made for another number of cores is an error
  FrontProcess process = {};                                  ///< empty: all devices are in this process
};

/// What each device of the mesh is made from. \throws Error, ConfigError: no store, configs for another mesh or mode
RunPlan make_run_plan(const Path& store, const Tree& prefill_config, const Tree& decode_config, const RunnerOptions& options);

class Sequence;

/// Loaded weights, both run configs and one sequence; more sequences may be decoded with them. Not thread-safe.
///
/// On a mesh this is the front: the calling thread is the first device, the others are told what to do and do it at the same time. Sequences are slots that
/// every device has. An error on any device ends the call with that error, named with its device, and so do all later calls.
class Runner {
 public:
  /// The slot of the runner's own sequence.
  static constexpr std::int64_t kOwn = 0;

  /// \param prefill_config, decode_config documents of stage 2. \throws Error, ConfigError: see create_run_config().
  Runner(const Path& store, const Tree& prefill_config, const Tree& decode_config, const RunnerOptions& options);
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  /// Runs `ids` with the prefill config, or with the decode config one after the other; appends to the own sequence.
  /// \throws Error: no ids, an id beyond the vocabulary (names id and position), context beyond the capacity.
  Model::Output prefill(std::span<const std::int64_t> ids, Model::Logits logits, Model::Trace* trace = nullptr, std::int64_t slot = kOwn);
  Model::Output decode(std::int64_t id, Model::Trace* trace = nullptr);
  /// One token of each of B sequences in one pass: every weight, and every expert that several visit, is read once. A sequence has the bits it has alone.
  /// \param slots kOwn, or Sequence::slot()  \return logits [B, vocab_size]
  /// \throws Error: no sequence, another number of ids, one sequence twice, and as above; no state has changed then
  Model::Output decode(std::span<const std::int64_t> ids, std::span<const std::int64_t> slots, Model::Trace* trace = nullptr);
  /// An empty sequence of the same capacity, besides the runner's own; or one that begins with the tokens of another, and belongs to the
  /// same device.
  Sequence create_sequence();
  Sequence copy_sequence(std::int64_t slot = kOwn);
  /// MTP module 0 over the hidden states of `main`, the result of the last prefill or decode: row i gets ids[i + 1].
  /// \return [ids.size() - 1, vocab_size] logits
  Mtp::Output mtp(const Model::Output& main, std::span<const std::int64_t> ids);
  /// Forgets the own sequence.
  void reset();

  /// From now on all devices note when their operators run. \return since start_trace(), by rank
  void start_trace();
  std::vector<DeviceTrace> collect_trace();

  const HfConfig& hf_config() const { return plan_.hf; }
  const MeshShape& mesh() const { return plan_.mesh; }
  std::int64_t num_tokens(std::int64_t slot = kOwn) { return first_->sequence(slot).num_tokens(); }
  /// The device that a sequence belongs to: its row decodes it. By rank.
  std::int64_t owner(std::int64_t slot) { return first_->sequence(slot).owner(); }
  /// The first device, its part of the own sequence, and its configs.
  Device& device() { return first_->device(); }
  const Model::State& state() { return first_->sequence(kOwn); }
  const Model::Config& prefill_run_config() const { return first_->prefill_config(); }
  const Model::Config& decode_run_config() const { return first_->decode_config(); }
  std::int64_t num_tensor_files() const { return first_->num_files(); }
  std::int64_t weight_bytes() const { return first_->weight_bytes(); }
  std::int64_t capacity() const { return plan_.capacity; }
  /// One line about a config that was made for another number of cores than the devices have; empty: it fits.
  const std::string& note() const { return note_; }

 private:
  friend class Sequence;
  void load(const RunnerOptions& options);
  void load_first(const TeamPlace& place, const std::shared_ptr<Communicator>& communicator);
  void check_slot(std::int64_t slot) const;
  void check_vocabulary(std::span<const std::int64_t> ids) const;
  void check_capacity(std::int64_t slot, std::size_t num_new_ids);
  /// \return the slot, which is taken from now on
  std::int64_t take_slot();
  void drop(std::int64_t slot) noexcept;
  /// A command on all devices; `own` is what the first one does, and returns.
  template <class Own>
  auto together(const Command& command, const Own& own);
  void together(const Command& command);

  RunPlan plan_;
  std::shared_ptr<OtherDevices> others_;  ///< null on one device; outlives first_, which may be waited for
  std::unique_ptr<DeviceRunner> first_;
  std::set<std::int64_t> slots_ = {kOwn};
  std::string note_;
};

/// A sequence of a runner, on all its devices; gone with this handle. The runner must outlive it.
class Sequence {
 public:
  Sequence(Sequence&& other) noexcept : runner_(std::exchange(other.runner_, nullptr)), slot_(other.slot_) {}
  Sequence& operator=(Sequence&&) = delete;
  ~Sequence() {
    if (runner_ != nullptr) runner_->drop(slot_);
  }
  std::int64_t slot() const { return slot_; }
  std::int64_t num_tokens() const { return runner_->num_tokens(slot_); }

 private:
  friend class Runner;
  Sequence(Runner& runner, std::int64_t slot) : runner_(&runner), slot_(slot) {}

  Runner* runner_;
  std::int64_t slot_;
};

}  // namespace meshseek
