#include "cli/mesh_session.hpp"

#include <exception>
#include <memory>
#include <optional>

#include "base/cpu_binding.hpp"
#include "mesh/handshake.hpp"
#include "stage3_run/remote_devices.hpp"
#include "stage3_run/run_facts.hpp"

namespace meshseek::cli {
namespace {

void follow(const MeshWork& work, const std::shared_ptr<Communicator>& communicator, const DevicePlace& place) {
  const std::optional<std::int64_t> capacity = wait_for_load(*communicator);
  if (!capacity) return;
  try {
    const PreparedModel prepared = work.prepare(place.team.num_threads);
    const RunPlan plan = make_run_plan(prepared.store, prepared.prefill_config, prepared.decode_config,
                                       {.max_tokens = *capacity, .prefault = work.prefault});
    agree(*communicator, facts_of_run(plan));
    DeviceRunner runner(plan, place.team, communicator);
    serve_commands(runner, *communicator);
  } catch (...) {
    communicator->fail(message_of(std::current_exception()));
    throw;
  }
}

}  // namespace

DevicePlace place_of_rank(const MpiMesh& mpi, const DeviceFlags& devices) {
  const auto place_with = [&](std::size_t num_threads) {
    const auto num_local = static_cast<std::size_t>(mpi.num_local_ranks());
    return place_here(num_local, bind_value(devices.bind), num_threads)[static_cast<std::size_t>(mpi.local_rank())];
  };
  std::size_t most = place_with(devices.num_threads).team.num_threads;
  if (most == 0) most = usable_cpus().size();
  return place_with(static_cast<std::size_t>(least_of(*mpi.communicator(), static_cast<std::int64_t>(most))));
}

void run_on_mesh(const MeshWork& work) {
  if (!is_mpi_rank()) return work.lead({});
  std::exception_ptr error;
  {
    const MpiMesh mpi(work.mesh);
    const std::shared_ptr<Communicator>& communicator = mpi.communicator();
    const DevicePlace place = place_of_rank(mpi, work.devices);
    if (communicator->rank() > 0) {
      follow(work, communicator, place);
    } else {
      try {
        work.lead({.communicator = communicator, .others = std::make_shared<RemoteDevices>(communicator), .place = place});
      } catch (...) {
        error = std::current_exception();
      }
    }
  }
  if (error) std::rethrow_exception(error);
}

void run_on_mesh(const ModelSource& source, const ConfigFlags& configs, const DeviceFlags& devices,
                 const std::function<void(const FrontProcess& front)>& lead) {
  run_on_mesh({.mesh = source.mesh(),
               .devices = devices,
               .prefault = configs.prefault,
               .prepare = [&](std::size_t num_cores) { return prepare_model(source, configs, num_cores); },
               .lead = lead});
}

}  // namespace meshseek::cli
