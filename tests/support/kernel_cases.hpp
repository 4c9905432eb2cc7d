/// What the tests of kernels share.
#pragma once
#include <limits>
#include <vector>

#include "ops/cpu/kernels.hpp"
#include "ops/test_tensors.hpp"

namespace meshseek::testing {

inline constexpr double kEpsilon = std::numeric_limits<float>::epsilon() / 2.0;

/// The tables that this machine can run; scalar is always among them.
inline std::vector<const cpu::Kernels*> tables() {
  std::vector<const cpu::Kernels*> result;
  for (int idx = 0; const cpu::Kernels* table = cpu::kernels_at(idx); ++idx) result.push_back(table);
  return result;
}

}  // namespace meshseek::testing
