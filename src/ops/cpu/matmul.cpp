#include "ops/cpu/matmul.hpp"

#include <algorithm>
#include <vector>

#include "ops/cpu/kernels.hpp"
#include "ops/cpu/rows.hpp"

namespace meshseek::cpu {
namespace {

constexpr std::int64_t kRowBlock = 32;  ///< output rows decoded at once: one row of tiles

/// A block of weight rows in the form that a fidelity multiplies.
class DecodedBlock {
 public:
  DecodedBlock(const WeightMatrix& weight, MathFidelity fidelity) : weight_(&weight), fidelity_(fidelity) {
    const auto size = static_cast<std::size_t>(kRowBlock * weight.padded_cols());
    if (fidelity == MathFidelity::LoFi) {
      magnitudes_.resize(size);
      scales_.resize(size / 16);
    } else {
      values_.resize(size);
    }
  }

  void decode(std::int64_t matrix_idx, std::int64_t row, std::int64_t count) {
    if (fidelity_ == MathFidelity::LoFi) return weight_->decode_magnitudes(matrix_idx, row, count, magnitudes_.data(), scales_.data());
    weight_->decode_rows(matrix_idx, row, count, fidelity_ == MathFidelity::HiFi2, values_.data());
  }

  void multiply(const Activations& x, std::int64_t x_row, std::int64_t count, float* out) const {
    const std::int64_t k = weight_->padded_cols();
    if (fidelity_ == MathFidelity::LoFi) {
      return kernels().dot_rows_int8(x.codes(x_row), x.scales(x_row), magnitudes_.data(), scales_.data(), k, count, out);
    }
    kernels().dot_rows(x.floats(x_row), values_.data(), k, k, count, out);
  }

 private:
  const WeightMatrix* weight_;
  MathFidelity fidelity_;
  std::vector<float> values_;
  std::vector<std::int8_t> magnitudes_;
  std::vector<float> scales_;
};

/// One block of output rows of one matrix that has activation rows.
struct Task {
  std::int64_t matrix_idx = 0;
  std::int64_t row = 0;
};

std::vector<Task> make_tasks(const MatmulProblem& problem) {
  std::vector<Task> tasks;
  for (std::size_t matrix_idx = 0; matrix_idx < problem.groups.size(); ++matrix_idx) {
    if (problem.groups[matrix_idx].count == 0) continue;
    for (std::int64_t row = 0; row < problem.weight->rows(); row += kRowBlock) tasks.push_back({static_cast<std::int64_t>(matrix_idx), row});
  }
  return tasks;
}

void run_task(const MatmulProblem& problem, const Task& task, DecodedBlock& block, const RowWriter& writer) {
  const std::int64_t count = std::min(kRowBlock, problem.weight->rows() - task.row);
  block.decode(task.matrix_idx, task.row, count);
  const RowGroup& group = problem.groups[static_cast<std::size_t>(task.matrix_idx)];
  float out[kRowBlock];
  for (std::int64_t idx = 0; idx < group.count; ++idx) {
    block.multiply(*problem.x, group.first_x + idx * group.step_x, count, out);
    for (std::int64_t row = 0; row < count && !problem.bias.empty(); ++row) out[row] += problem.bias[static_cast<std::size_t>(task.row + row)];
    writer.write_at(group.first_y + idx * group.step_y, task.row, out, count);
  }
}

}  // namespace

void matmul_transposed(const MatmulProblem& problem, Tensor& y, ThreadTeam& team) {
  const RowWriter writer(y, problem.weight->rows());
  const std::vector<Task> tasks = make_tasks(problem);
  team.parallel_for(tasks.size(), 1, [&](std::size_t begin, std::size_t end) {
    DecodedBlock block(*problem.weight, problem.fidelity);
    for (std::size_t task_idx = begin; task_idx < end; ++task_idx) run_task(problem, tasks[task_idx], block, writer);
  });
}

void matmul_plain(const MatmulProblem& problem, Tensor& y, ThreadTeam& team) {
  const WeightMatrix& weight = *problem.weight;
  const RowWriter writer(y, weight.cols());
  const std::int64_t width = weight.padded_cols();
  team.parallel_for(problem.groups.size(), 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> rows(static_cast<std::size_t>(kRowBlock * width));
    for (std::size_t matrix_idx = begin; matrix_idx < end; ++matrix_idx) {
      const RowGroup& group = problem.groups[matrix_idx];
      std::vector<float> sums(static_cast<std::size_t>(group.count * width));  // [count, width]
      for (std::int64_t row = 0; row < weight.rows() && group.count > 0; row += kRowBlock) {
        const std::int64_t count = std::min(kRowBlock, weight.rows() - row);
        weight.decode_rows(static_cast<std::int64_t>(matrix_idx), row, count, problem.fidelity != MathFidelity::HiFi4, rows.data());
        for (std::int64_t idx = 0; idx < group.count; ++idx) {
          const float* x = problem.x->floats(group.first_x + idx * group.step_x) + row;
          for (std::int64_t in = 0; in < count; ++in) kernels().axpy(x[in], rows.data() + in * width, width, sums.data() + idx * width);
        }
      }
      for (std::int64_t idx = 0; idx < group.count; ++idx) {
        float* line = sums.data() + idx * width;
        for (std::size_t col = 0; col < problem.bias.size(); ++col) line[col] += problem.bias[col];
        writer.write(group.first_y + idx * group.step_y, line);
      }
    }
  });
}

}  // namespace meshseek::cpu
