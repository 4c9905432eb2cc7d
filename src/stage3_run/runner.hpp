/// Stage 3: a store and two model configs become a model that runs.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.hpp"
#include "config/tree.hpp"
#include "hf/hf_config.hpp"
#include "mesh/device.hpp"
#include "mesh/mesh_device.hpp"
#include "modules/model/model.hpp"
#include "stage3_run/weight_loader.hpp"

namespace meshseek {

inline constexpr std::int64_t kWeightConfigVersion = 1;

/// What weight_config.json says besides the weights.
struct StoreInfo {
  MeshShape mesh = {};
  DataType dtype = DataType::bfloat8_b;  ///< standard dtype of the projections
  Tree weight_config = {};               ///< below "model", folded
};

/// Reads and checks `store`/weight_config.json. \throws Error: unfinished conversion (run convert again), another version, not a store.
StoreInfo read_store_info(const Path& store);
/// Whether the folder is or was meant to be a store (finished or not).
bool looks_like_store(const Path& folder);

struct RunnerOptions {
  std::size_t num_threads = 0;                                ///< 0: one per usable core
  std::int64_t max_tokens = 0;                                ///< capacity of a sequence; 0: max_position_embeddings
  std::function<void(const LoadProgress&)> on_progress = {};  ///< while weights are loaded
  bool prefault = false;                                      ///< weights are read from the disk while they are loaded, not on first use
  bool strict = false;                                        ///< a config that was made for another number of cores is an error
};

/// Loaded weights, both run configs and one sequence's state; more sequences may be decoded with them. Not thread-safe.
class Runner {
 public:
  /// \param prefill_config, decode_config documents of stage 2. \throws Error, ConfigError: see create_run_config().
  Runner(const Path& store, const Tree& prefill_config, const Tree& decode_config, const RunnerOptions& options);

  /// Runs `ids` with the prefill config, or with the decode config one after the other; appends to the state.
  /// \throws Error: no ids, an id beyond the vocabulary (names id and position), context beyond the capacity.
  Model::Output prefill(std::span<const std::int64_t> ids, Model::Logits logits, Model::Trace* trace = nullptr);
  Model::Output decode(std::int64_t id, Model::Trace* trace = nullptr);
  /// One token of each of B sequences in one pass: every weight, and every expert that several visit, is read once. A sequence has the bits it has alone.
  /// \return logits [B, vocab_size]
  /// \throws Error: no sequence, another number of ids, one sequence twice, and as above; no state has changed then
  Model::Output decode(std::span<const std::int64_t> ids, std::span<Model::State* const> sequences, Model::Trace* trace = nullptr);
  /// An empty sequence of the same capacity, besides the runner's own.
  Model::State create_sequence();
  /// MTP module 0 over the hidden states of `main` (from prefill): row i gets ids[i + 1]. \return [ids.size() - 1, vocab_size] logits
  Mtp::Output mtp(const Model::Output& main, std::span<const std::int64_t> ids);
  /// Forgets the sequence.
  void reset();

  const HfConfig& hf_config() const { return hf_; }
  const Model::State& state() const { return state_; }
  Model::State& state() { return state_; }
  const Model::Config& prefill_run_config() const { return prefill_; }
  const Model::Config& decode_run_config() const { return decode_; }
  Device& device() { return *device_; }
  std::int64_t capacity() const { return capacity_; }
  std::int64_t num_tensor_files() const { return num_files_; }
  std::int64_t weight_bytes() const { return weight_bytes_; }
  /// One line about a config that was made for another number of cores than this device has; empty: it fits.
  const std::string& note() const { return note_; }

 private:
  void check_vocabulary(std::span<const std::int64_t> ids) const;
  void check_capacity(const Model::State& state, std::size_t num_new_ids) const;
  Tensor ids_tensor(std::span<const std::int64_t> ids) const;

  HfConfig hf_;
  std::unique_ptr<Device> device_;
  Model::Config prefill_;
  Model::Config decode_;
  std::unique_ptr<Model> model_;
  Model::State state_;
  std::int64_t capacity_ = 0;
  std::int64_t num_files_ = 0;
  std::int64_t weight_bytes_ = 0;
  std::string note_;
};

}  // namespace meshseek
