#include "ops/cpu/matmul.hpp"

#include <algorithm>
#include <vector>

#include "ops/cpu/kernels.hpp"
#include "ops/cpu/rows.hpp"

namespace meshseek::cpu {
namespace {

constexpr std::int64_t kRowBlock = 32;    ///< output rows decoded at once: one row of tiles
constexpr std::int64_t kTokenBlock = 32;  ///< activation rows whose results are kept before they are written

/// A block of weight rows in the form that a fidelity multiplies.
class DecodedBlock {
 public:
  DecodedBlock(const WeightMatrix& weight, MathFidelity fidelity) : weight_(&weight), fidelity_(fidelity) {
    const auto size = static_cast<std::size_t>(kRowBlock * weight.padded_cols());
    if (fidelity == MathFidelity::LoFi) {
      magnitudes_.resize(size);
      scales_.resize(size / kInt8Group);
    } else {
      values_.resize(size);
    }
  }

  void decode(std::int64_t matrix_idx, std::int64_t row, std::int64_t count) {
    count_ = count;
    if (fidelity_ == MathFidelity::LoFi) return weight_->decode_magnitudes(matrix_idx, row, count, magnitudes_.data(), scales_.data());
    weight_->decode_rows(matrix_idx, row, count, fidelity_ == MathFidelity::HiFi2, values_.data());
  }

  /// Activation rows first, first + step, ...: `num_x` of them. \param out [num_x, kRowBlock]
  void multiply(const Activations& x, std::int64_t first, std::int64_t step, std::int64_t num_x, float* out) const {
    const std::int64_t k = weight_->padded_cols();
    if (fidelity_ == MathFidelity::LoFi) {
      kernels().dot_block_int8({.x = x.codes(first),
                                .x_scale = x.scales(first),
                                .x_stride = step * k,
                                .num_x = num_x,
                                .w = magnitudes_.data(),
                                .w_scale = scales_.data(),
                                .num_row_groups = ceil_div(count_, kInt8Group),
                                .num_blocks = k / kInt8Group,
                                .out = out,
                                .out_stride = kRowBlock});
      return;
    }
    kernels().dot_block({.x = x.floats(first),
                         .x_stride = step * k,
                         .num_x = num_x,
                         .w = values_.data(),
                         .w_stride = k,
                         .num_w = count_,
                         .k = k,
                         .out = out,
                         .out_stride = kRowBlock});
  }

 private:
  const WeightMatrix* weight_;
  MathFidelity fidelity_;
  std::int64_t count_ = 0;
  std::vector<float> values_;
  std::vector<std::int16_t> magnitudes_;
  std::vector<float> scales_;
};

/// One block of output rows of one matrix that has activation rows.
struct Task {
  std::int64_t matrix_idx = 0;
  std::int64_t row = 0;
  std::int64_t cost_before = 0;  ///< of all tasks before this one
};

/// Decoding a weight row costs about as much as multiplying a few activation rows with it.
constexpr std::int64_t kDecodeCost = 8;
/// Products below which waking the other threads takes longer than the work.
constexpr std::int64_t kWorthThreads = 100'000;

/// Tasks of the matrices that are used, and a last one that carries the whole cost.
std::vector<Task> make_tasks(const MatmulProblem& problem) {
  std::vector<Task> tasks;
  std::int64_t cost = 0;
  for (std::size_t matrix_idx = 0; matrix_idx < problem.groups.size(); ++matrix_idx) {
    const std::int64_t num_x = problem.groups[matrix_idx].count;
    for (std::int64_t row = 0; row < problem.weight->rows() && num_x > 0; row += kRowBlock) {
      tasks.push_back({static_cast<std::int64_t>(matrix_idx), row, cost});
      cost += num_x + kDecodeCost;
    }
  }
  tasks.push_back({.cost_before = cost});
  return tasks;
}

void run_task(const MatmulProblem& problem, const Task& task, DecodedBlock& block, const RowWriter& writer) {
  const std::int64_t count = std::min(kRowBlock, problem.weight->rows() - task.row);
  block.decode(task.matrix_idx, task.row, count);
  const RowGroup& group = problem.groups[static_cast<std::size_t>(task.matrix_idx)];
  float out[kTokenBlock * kRowBlock];
  for (std::int64_t begin = 0; begin < group.count; begin += kTokenBlock) {
    const std::int64_t num_x = std::min(kTokenBlock, group.count - begin);
    block.multiply(*problem.x, group.first_x + begin * group.step_x, group.step_x, num_x, out);
    for (std::int64_t idx = 0; idx < num_x; ++idx) {
      float* line = out + idx * kRowBlock;
      for (std::int64_t row = 0; row < count && !problem.bias.empty(); ++row)
        line[row] += problem.bias[static_cast<std::size_t>(task.row + row)];
      writer.write_at(group.first_y + (begin + idx) * group.step_y, task.row, line, count);
    }
  }
}

}  // namespace

void matmul_transposed(const MatmulProblem& problem, Tensor& y, ThreadTeam& team) {
  const RowWriter writer(y, problem.weight->rows());
  const std::vector<Task> tasks = make_tasks(problem);
  const std::size_t num_members = team.size();
  const std::int64_t cost = tasks.back().cost_before;
  // Experts have different numbers of rows: each member gets an equal share of the cost, not of the tasks.
  const auto first_task = [&](std::size_t member) {
    const auto share = cost * static_cast<std::int64_t>(member) / static_cast<std::int64_t>(num_members);
    return std::partition_point(tasks.begin(), tasks.end() - 1, [&](const Task& task) { return task.cost_before < share; });
  };
  const bool worth = cost * kRowBlock * problem.weight->padded_cols() >= kWorthThreads;
  team.parallel_for(num_members, worth ? 1 : num_members, [&](std::size_t begin, std::size_t end) {
    DecodedBlock block(*problem.weight, problem.fidelity);
    for (auto task = first_task(begin); task != first_task(end); ++task) run_task(problem, *task, block, writer);
  });
}

void matmul_plain(const MatmulProblem& problem, Tensor& y, ThreadTeam& team) {
  const WeightMatrix& weight = *problem.weight;
  const RowWriter writer(y, weight.cols());
  const std::int64_t width = weight.padded_cols();
  team.parallel_for(problem.groups.size(), 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> rows(static_cast<std::size_t>(weight.rows() * width));
    std::vector<float> out(static_cast<std::size_t>(kTokenBlock * width));
    for (std::size_t matrix_idx = begin; matrix_idx < end; ++matrix_idx) {
      const RowGroup& group = problem.groups[matrix_idx];
      if (group.count == 0) continue;
      weight.decode_rows(static_cast<std::int64_t>(matrix_idx), 0, weight.rows(), problem.fidelity != MathFidelity::HiFi4, rows.data());
      for (std::int64_t first = 0; first < group.count; first += kTokenBlock) {
        const std::int64_t num_x = std::min(kTokenBlock, group.count - first);
        kernels().weighted_sum({.weights = problem.x->floats(group.first_x + first * group.step_x),
                                .weights_stride = group.step_x * problem.x->padded_cols(),
                                .num_x = num_x,
                                .rows = rows.data(),
                                .row_stride = width,
                                .num_rows = weight.rows(),
                                .cols = width,
                                .out = out.data(),
                                .out_stride = width});
        for (std::int64_t idx = 0; idx < num_x; ++idx) {
          float* line = out.data() + idx * width;
          for (std::size_t col = 0; col < problem.bias.size(); ++col) line[col] += problem.bias[col];
          writer.write(group.first_y + (first + idx) * group.step_y, line);
        }
      }
    }
  });
}

}  // namespace meshseek::cpu
