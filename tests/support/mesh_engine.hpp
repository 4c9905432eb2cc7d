/// All three stages on a mesh of devices in one process: a thread for each device.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "mesh/communicator.hpp"
#include "mesh/device.hpp"
#include "tests/support/engine.hpp"

namespace meshseek::testing {

/// What one device of the mesh has.
struct MeshMember {
  std::unique_ptr<Device> device = {};
  Model::Config prefill = {};
  Model::Config decode = {};
  std::vector<Model::State> sequences = {};
};

/// Converts a checkpoint (or takes a store that was converted for the mesh), configures and loads it on every device.
class MeshEngine {
 public:
  MeshEngine(const Path& checkpoint, const MeshShape& mesh, const EngineOptions& options = {});
  const MeshShape& mesh() const { return mesh_; }
  const HfConfig& hf_config() const { return hf_; }
  std::vector<std::unique_ptr<MeshMember>>& members() { return members_; }

  /// Empty sequences, the same on all devices; sequence i belongs to device i modulo their number.
  void create_sequences(std::int64_t count, std::int64_t capacity = 512);
  /// One call of the model by all devices. \return what the first device gets
  Model::Output prefill(std::span<const std::int64_t> ids, std::int64_t sequence_idx, Model::Logits logits, Model::Trace* trace = nullptr);
  Model::Output decode(std::span<const std::int64_t> ids, std::span<const std::int64_t> sequence_idxs);
  Mtp::Output mtp(std::span<const std::int64_t> ids, std::int64_t sequence_idx);
  /// Runs `work` on all devices at once. \throws the first error that is not another device's
  void on_all(const std::function<void(std::int64_t rank, MeshMember& member)>& work);

 private:
  MeshShape mesh_;
  TemporaryFolder folder_;
  HfConfig hf_;
  std::unique_ptr<Model> model_;
  std::vector<std::unique_ptr<MeshMember>> members_;
};

}  // namespace meshseek::testing
