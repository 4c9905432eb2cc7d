/// What one device of a mesh holds and does: its weights, its part of every sequence, both run configs.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mapped_file.hpp"
#include "config/tree.hpp"
#include "hf/hf_config.hpp"
#include "mesh/communicator.hpp"
#include "mesh/device.hpp"
#include "modules/model/model.hpp"
#include "stage3_run/command.hpp"
#include "stage3_run/store_info.hpp"
#include "stage3_run/trace.hpp"
#include "stage3_run/weight_loader.hpp"

namespace meshseek {

/// What all devices of a mesh are made from.
struct RunPlan {
  Path store = {};
  StoreInfo info = {};
  MeshShape mesh = {};                            ///< of the devices; the store's, or with a pipeline that with several rows
  std::optional<Pipeline::Config> pipeline = {};  ///< of both configs
  HfConfig hf = {};
  Tree prefill_config = {};
  Tree decode_config = {};
  std::int64_t capacity = 0;                                  ///< tokens of a sequence
  bool prefault = false;                                      ///< weights are read from the disk while they are loaded, not on first use
  std::function<void(const LoadProgress&)> on_progress = {};  ///< of the first device
};

/// Used by one thread, which made it. All devices of a mesh are given the same calls in the same order. Ids and slots have been checked by the front.
class DeviceRunner {
 public:
  /// \param communicator null: alone. \throws Error, ConfigError: see create_run_config().
  DeviceRunner(const RunPlan& plan, const TeamPlace& team, std::shared_ptr<Communicator> communicator);

  /// Each returns what Model::forward() returns on this device. \param slots an existing sequence for each id
  Model::Output prefill(std::span<const std::int64_t> ids, std::int64_t slot, Model::Logits logits, Model::Trace* trace);
  Model::Output decode(std::span<const std::int64_t> ids, std::span<const std::int64_t> slots, Model::Trace* trace);
  /// \param main null: the output of this device's last call
  Mtp::Output mtp(const Model::Output* main, std::span<const std::int64_t> ids, std::int64_t slot);
  /// An empty sequence in a slot, whatever was there before.
  void create(std::int64_t slot);
  /// The same with the tokens of another one.
  void copy(std::int64_t slot, std::int64_t source);
  void drop(std::int64_t slot) { sequences_.erase(slot); }
  /// Any of these; results stay here. Neither load nor stop.
  void execute(const Command& command);

  void start_trace();
  /// Ends it. \return what ran since start_trace()
  DeviceTrace collect_trace();

  Device& device() { return device_; }
  Model::State& sequence(std::int64_t slot) { return sequences_.at(slot); }
  const Model::Config& prefill_config() const { return prefill_; }
  const Model::Config& decode_config() const { return decode_; }
  std::int64_t num_files() const { return num_files_; }
  std::int64_t weight_bytes() const { return weight_bytes_; }

 private:
  void create_at(std::int64_t slot, std::int64_t owner);
  Tensor ids_tensor(std::span<const std::int64_t> ids);
  Model::Output keep(Model::Output output);
  /// Runs work(), a pass of the model. Afterwards nobody minds how long this device does nothing.
  template <class Work>
  auto pass(const Work& work);

  HfConfig hf_;
  Device device_;
  Model::Config prefill_;
  Model::Config decode_;
  Model model_;
  std::map<std::int64_t, Model::State> sequences_;
  std::vector<Model::State*> batch_;  ///< of the last decode, kept for its memory
  Model::Output last_;                ///< for mtp on a mesh
  std::unique_ptr<TraceRecorder> trace_;
  std::int64_t capacity_ = 0;
  std::int64_t num_files_ = 0;
  std::int64_t weight_bytes_ = 0;
};

}  // namespace meshseek
