/// Products of activation rows with stored matrices.
#pragma once
#include <cstdint>
#include <span>

#include "ops/cpu/activations.hpp"
#include "ops/cpu/weight_block.hpp"

namespace meshseek::cpu {

/// Which activation rows meet one matrix of the stack, and where the results go: row i of the group is activation row first_x + i * step_x and
/// output row first_y + i * step_y.
struct RowGroup {
  std::int64_t count = 0;
  std::int64_t first_x = 0;
  std::int64_t step_x = 1;
  std::int64_t first_y = 0;
  std::int64_t step_y = 1;
};

struct MatmulProblem {
  const Activations* x = nullptr;
  const WeightMatrix* weight = nullptr;
  std::span<const RowGroup> groups = {};  ///< one per matrix of the stack
  std::span<const float> bias = {};       ///< empty or one per output
  MathFidelity fidelity = MathFidelity::HiFi2;
};

/// y = x W^T for weights [.., out, in]; y has rows of `out` values.
void matmul_transposed(const MatmulProblem& problem, Tensor& y, ThreadTeam& team);
/// y = x W for weights [.., in, out].
void matmul_plain(const MatmulProblem& problem, Tensor& y, ThreadTeam& team);

}  // namespace meshseek::cpu
