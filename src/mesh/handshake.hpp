/// Whether all devices of a mesh are about to do the same.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "mesh/communicator.hpp"

namespace meshseek {

/// Something that must be equal on all devices.
struct Fact {
  std::string name = {};   ///< "store"
  std::string value = {};  ///< a digest, or the thing itself when it is short
};

/// What must be equal before anything is loaded: version of the messages, the program's own file, the mesh, the number format.
/// \throws Error when the program's file cannot be read
std::vector<Fact> facts_of_program(const MeshShape& shape);

/// Compares with rank 0. Every device calls it with facts of the same names in the same order.
/// \throws MeshError on all devices, naming the first rank and fact that differ; between processes: ends all of them with that message
void agree(Communicator& communicator, const std::vector<Fact>& facts);

/// The smallest of all devices' values, on all devices. Every device calls it.
std::int64_t least_of(Communicator& communicator, std::int64_t value);

}  // namespace meshseek
