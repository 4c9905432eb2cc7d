/// What stages 1 and 2 know of the machine: the mesh shape and a description of one device. No threads, no memory.
#pragma once
#include <cstdint>
#include <string>

#include "mesh/mesh_shape.hpp"

namespace meshseek {

/// One device as a plan sees it. Recorded in the model config; the same description gives byte-identical configs on any machine.
struct DeviceDescription {
  std::int64_t num_cores = 1;
  std::int64_t l2_bytes = 0;   ///< per core; 0: unknown
  std::string isa = "scalar";  ///< scalar, avx2, avx512, avx512_vnni, amx
};

/// Reads cores, L2 size and ISA of this machine.
DeviceDescription probe_device();

struct MeshDevice {
  MeshShape shape = {};
  DeviceDescription device = {};
  bool deterministic = false;  ///< results have the same bits on every mesh

  /// Products whose inputs lie over the columns are cut along their outputs, which are joined: no sum over devices has an order of its own.
  constexpr bool joins_outputs() const { return deterministic && shape.cols > 1; }
};

}  // namespace meshseek
