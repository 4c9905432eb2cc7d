/// Products of activation rows with stored matrices.
#pragma once
#include <cstdint>
#include <span>

#include "ops/cpu/activations.hpp"
#include "ops/cpu/tile_panels.hpp"
#include "ops/cpu/weight_block.hpp"
#include "ops/matmul_plan.hpp"

namespace meshseek::cpu {

/// What happens to the two results of a gated product.
struct Gating {
  bool rounds_bf16 = false;                       ///< each is rounded to bf16 first, as if it had been stored
  std::span<const UnaryOpType> activations = {};  ///< of the first, in order
};

struct MatmulProblem {
  const Activations* x = nullptr;      ///< null when all rows are in `panels`
  const TilePanels* panels = nullptr;  ///< of the matrices that are multiplied on tiles; null: none
  const WeightMatrix* weight = nullptr;
  const WeightMatrix* up = nullptr;       ///< gated: of the shape and type of `weight`; y = f(x W^T) * (x U^T)
  const Gating* gating = nullptr;         ///< f and what comes before it; null without `up`
  std::span<const RowGroup> groups = {};  ///< one per matrix of the stack
  std::span<const float> bias = {};       ///< empty or one per output
  MathFidelity fidelity = MathFidelity::HiFi2;
  bool transpose_b = true;  ///< weights [.., out, in]: y = x W^T; else [.., in, out]: y = x W

  std::int64_t num_outputs() const { return transpose_b ? weight->rows() : weight->cols(); }
  std::int64_t num_inputs() const { return transpose_b ? weight->cols() : weight->rows(); }
};

/// Computes the product as the plan says; y has rows of num_outputs() values. Each core runs on one thread; neighbouring cores share a thread when there
/// are more cores than threads. A thread that is done takes the last slabs of another. With 32 rows or more for a matrix the shares of the cores are dealt instead, slab by slab, to as many threads as become free;
/// results do not depend on who computes what.
void matmul(const MatmulProblem& problem, const MatmulPlan& plan, Tensor& y, Device& device);

}  // namespace meshseek::cpu
