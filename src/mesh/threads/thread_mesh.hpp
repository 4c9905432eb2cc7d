/// The mesh inside one process: a device is a thread, a message is a pointer.
#pragma once
#include <memory>
#include <vector>

#include "mesh/communicator.hpp"

namespace meshseek {

/// One communicator for each device, by rank; each is meant for one thread. They may be destroyed in any order.
std::vector<std::shared_ptr<Communicator>> make_thread_mesh(const MeshShape& shape);

}  // namespace meshseek
