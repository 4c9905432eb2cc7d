#include "cli/mesh_session.hpp"

#include "cli/engine.hpp"

namespace meshseek::cli {

MeshSession::MeshSession(const MeshShape& mesh, const DeviceFlags& devices) {
  if (!is_mpi_rank()) return;
  mpi_ = std::make_unique<MpiMesh>(mesh);
  const auto num_local = static_cast<std::size_t>(mpi_->num_local_ranks());
  place_ = place_here(num_local, bind_value(devices.bind), devices.num_threads)[static_cast<std::size_t>(mpi_->local_rank())];
  if (is_follower()) return;
  front_ = {.communicator = mpi_->communicator(), .others = std::make_shared<RemoteDevices>(mpi_->communicator()), .place = place_};
}

void MeshSession::follow(const ModelSource& source, const ConfigFlags& configs, const DeviceFlags& devices) const {
  const std::shared_ptr<Communicator>& communicator = mpi_->communicator();
  const std::optional<std::int64_t> capacity = wait_for_load(*communicator);
  if (!capacity) return;
  try {
    const PreparedModel prepared = prepare_model(source, configs, devices);
    const RunPlan plan = make_run_plan(prepared.store, prepared.prefill_config, prepared.decode_config, {.max_tokens = *capacity, .prefault = configs.prefault});
    DeviceRunner runner(plan, place_.team, communicator);
    serve_commands(runner, *communicator);
  } catch (const std::exception& error) {
    communicator->fail(error.what());
    throw;
  }
}

}  // namespace meshseek::cli
