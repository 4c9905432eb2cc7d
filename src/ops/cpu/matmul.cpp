#include "ops/cpu/matmul.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <memory_resource>
#include <optional>
#include <utility>
#include <vector>

#include "mesh/communicator.hpp"
#include "ops/cpu/aligned_buffer.hpp"
#include "ops/cpu/gemv.hpp"
#include "ops/cpu/kernels.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/cpu/slab_queue.hpp"
#include "ops/unary.hpp"
#include "tensor/block_float.hpp"

namespace meshseek::cpu {
namespace {

/// A half-open range of rows, outputs or values of K.
struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
};

/// One piece of work: some outputs of one matrix for some rows of its group.
struct Task {
  std::int64_t matrix_idx = 0;
  Range rows = {};  ///< of the group
  Range cols = {};  ///< outputs
};

/// A slab of weights, decoded in the form that a fidelity multiplies: `outputs` x `k` values.
class Slab {
 public:
  Slab(const MatmulProblem& problem, const MatmulPlan& plan, std::pmr::memory_resource& memory) : problem_(&problem) {
    const std::int64_t k = std::min(round_up(problem.num_inputs(), kTileSize), plan.k_block);
    const std::int64_t size = plan.col_block * k;
    if (uses_magnitudes()) {
      magnitudes_ = AlignedBuffer<std::uint8_t>(static_cast<std::size_t>(size), memory);
      scales_ = AlignedBuffer<float>(static_cast<std::size_t>(size / kInt8Group), memory);
    } else {
      const std::int64_t num_lines = problem.transpose_b ? plan.col_block : k;
      values_ = AlignedBuffer<float>(static_cast<std::size_t>(size + num_lines * kLinePadding), memory);
    }
  }

  void decode(const WeightMatrix& weight, std::int64_t matrix_idx, Range outputs, Range k) {
    outputs_ = outputs;
    k_ = k;
    const WeightMatrix::Columns k_columns = {k.begin, k.size()};
    if (uses_magnitudes()) {
      weight.decode_magnitudes(matrix_idx, outputs.begin, outputs.size(), k_columns, magnitudes_.data(), scales_.data());
    } else if (problem_->transpose_b) {
      weight.decode_rows(matrix_idx, outputs.begin, outputs.size(), k_columns, problem_->fidelity == MathFidelity::HiFi2, values_.data(),
                         stride());
    } else {
      weight.decode_rows(matrix_idx, k.begin, k.size(), {outputs.begin, outputs.size()}, problem_->fidelity != MathFidelity::HiFi4,
                         values_.data(), stride());
    }
  }

  /// Activation rows first, first + step, ...: `num_x` of them. \param out [num_x, out_stride], the padded outputs of the slab
  void multiply(std::int64_t first, std::int64_t step, std::int64_t num_x, float* out, std::int64_t out_stride) const {
    if (uses_magnitudes()) return multiply_int8(first, step, num_x, out, out_stride);
    const Activations& x = *problem_->x;
    if (problem_->transpose_b) {
      kernels().dot_block({.x = x.floats(first) + k_.begin,
                           .x_stride = step * x.padded_cols(),
                           .num_x = num_x,
                           .w = values_.data(),
                           .w_stride = stride(),
                           .num_w = outputs_.size(),
                           .k = round_up(k_.size(), kTileSize),
                           .out = out,
                           .out_stride = out_stride});
      return;
    }
    kernels().weighted_sum({.weights = x.floats(first) + k_.begin,
                            .weights_stride = step * x.padded_cols(),
                            .num_x = num_x,
                            .rows = values_.data(),
                            .row_stride = stride(),
                            .num_rows = k_.size(),
                            .cols = round_up(outputs_.size(), kTileSize),
                            .out = out,
                            .out_stride = out_stride});
  }

 private:
  /// Floats between two lines of the slab: lines of 2^n values alone would meet in the same few sets of the first-level cache.
  static constexpr std::int64_t kLinePadding = 16;
  std::int64_t stride() const { return round_up(problem_->transpose_b ? k_.size() : outputs_.size(), kTileSize) + kLinePadding; }

  bool uses_magnitudes() const { return problem_->transpose_b && problem_->fidelity == MathFidelity::LoFi; }

  void multiply_int8(std::int64_t first, std::int64_t step, std::int64_t num_x, float* out, std::int64_t out_stride) const {
    const Activations& x = *problem_->x;
    const Int8Rows& rows = x.int8_rows();
    kernels().dot_block_int8({.x = rows.codes(first) + k_.begin,
                              .x_scale = rows.scales(first) + k_.begin / kInt8Group,
                              .x_correction = rows.corrections(first) + k_.begin / kInt8Group,
                              .x_stride = step * x.padded_cols(),
                              .num_x = num_x,
                              .w = magnitudes_.data(),
                              .w_scale = scales_.data(),
                              .num_row_groups = ceil_div(outputs_.size(), kInt8Group),
                              .num_blocks = round_up(k_.size(), kTileSize) / kInt8Group,
                              .out = out,
                              .out_stride = out_stride});
  }

  const MatmulProblem* problem_;
  Range outputs_ = {};
  Range k_ = {};
  AlignedBuffer<float> values_;
  AlignedBuffer<std::uint8_t> magnitudes_;
  AlignedBuffer<float> scales_;
};

/// So many rows of x are multiplied with tiles as they lie in the file; more are worth a decoded slab.
constexpr std::int64_t kMostStreamedRows = 8;

/// The kernel that multiplies the problem's tiles where they lie; null: there is none.
using StreamKernel = bool (*)(const TileRun&);
StreamKernel stream_kernel(const MatmulProblem& problem) {
  const StreamKernels* table = stream_kernels();
  const WeightMatrix& weight = *problem.weight;
  if (table == nullptr || weight.layout() != Layout::tile || !is_block_float(weight.dtype())) return nullptr;
  const bool eight = weight.dtype() == DataType::bfloat8_b;
  if (!problem.transpose_b) return eight ? table->add_rows_b8 : table->add_rows_b4;
  if (problem.fidelity == MathFidelity::LoFi) return eight ? table->dot_int8_b8 : table->dot_int8_b4;
  return eight ? table->dot_b8 : table->dot_b4;
}

/// One core at work: its slab and the sums of the outputs in work.
class Core {
 public:
  Core(const MatmulProblem& problem, const MatmulPlan& plan, const RowWriter& writer, Device& device)
      : problem_(problem),
        plan_(plan),
        writer_(writer),
        memory_(device.scratch()),
        progress_(device.communicator().progress()),
        stream_(stream_kernel(problem)) {}

  /// \param task one slab  \param next what this core will probably run then; null: nothing
  void run(const Task& task, const Task* next) {
    progress_.note_work();
    if (problem_.panels != nullptr && problem_.panels->serves(task.matrix_idx)) return run_tiles(task, next);
    multiply(*problem_.weight, task);
    if (problem_.up != nullptr) {
      std::swap(sums_, gates_);
      multiply(*problem_.up, task);
    }
    finish(task, task.rows);
  }

 private:
  /// Leaves the products of the task's rows with some outputs of a weight in sums_.
  void multiply(const WeightMatrix& weight, const Task& task) {
    const std::int64_t num_inputs = problem_.num_inputs();
    const std::int64_t size = task.rows.size() * plan_.col_block;
    sums_.reserve(static_cast<std::size_t>(size), memory_);
    std::fill_n(sums_.data(), size, 0.0F);
    if (stream(weight, task)) return;
    if (!slab_) slab_.emplace(problem_, plan_, memory_);
    for (std::int64_t k = 0; k < num_inputs; k += plan_.k_block) {
      slab_->decode(weight, task.matrix_idx, task.cols, {k, std::min(k + plan_.k_block, num_inputs)});
      for (std::int64_t row = task.rows.begin; row < task.rows.end; row += plan_.row_block) {
        multiply_slab(task, {row, std::min(row + plan_.row_block, task.rows.end)}, k == 0);
      }
    }
  }

  /// All panels of the rows, one after the other: the slabs and the sums of one panel stay in the second-level cache. Where K has several blocks, the sums
  /// of all panels wait for the next one.
  void run_tiles(const Task& task, const Task* next) {
    const std::int64_t num_inputs = problem_.num_inputs();
    const std::int64_t k_block = round_up(plan_.k_block, kTileChunk);
    const std::size_t num_weights = problem_.up == nullptr ? 1 : 2;
    const bool one_block = num_inputs <= k_block;
    const std::int64_t panel_size = kPanelRows * round_up(task.cols.size(), kPanelRows);
    const std::int64_t num_panels = one_block ? 1 : ceil_div(task.rows.size(), kPanelRows);
    for (std::size_t idx = 0; idx < num_weights; ++idx) {
      if (!tile_slabs_[idx])
        tile_slabs_[idx].emplace(weight_at(idx), problem_.panels->form(), round_up(plan_.col_block, kPanelRows),
                                 std::min(k_block, round_up(num_inputs, kTileChunk)), memory_);
      tile_sums_[idx].reserve(static_cast<std::size_t>(panel_size * num_panels), memory_);
    }
    for (std::int64_t k = 0; k < num_inputs; k += k_block) {
      for (std::size_t idx = 0; idx < num_weights; ++idx)
        tile_slabs_[idx]->decode(task.matrix_idx, task.cols.begin, task.cols.size(), {k, std::min(k_block, num_inputs - k)});
      for (std::int64_t row = task.rows.begin, panel = 0; row < task.rows.end; row += kPanelRows, panel += one_block ? 0 : 1) {
        progress_.note_work();
        TileProduct product = {.adds = k > 0};
        problem_.panels->put(product, task.matrix_idx, row, k);
        for (std::size_t idx = 0; idx < num_weights; ++idx) {
          product.sums = tile_sums_[idx].data() + panel * panel_size;
          tile_slabs_[idx]->put(product);
          if (one_block && next != nullptr)
            put_part_of_next(product, *next, weight_at(idx), row / kPanelRows, ceil_div(task.rows.size(), kPanelRows));
          multiply_panel(product);
        }
        if (k + k_block >= num_inputs)
          finish_panel(task, {row, std::min(row + kPanelRows, task.rows.end)}, panel * panel_size, product.num_x_tiles);
      }
    }
  }

  void multiply_panel(const TileProduct& product) const {
    const TileKernels& tiles = *kernels().tiles;
    switch (problem_.panels->form()) {
      case PanelForm::bf16:
        return tiles.multiply_bf16(product);
      case PanelForm::int8:
        return tiles.multiply_int8(product);
      case PanelForm::int16:
        return tiles.multiply_int16(product);
    }
  }

  const WeightMatrix& weight_at(std::size_t idx) const { return idx == 0 ? *problem_.weight : *problem_.up; }

  /// The stored tiles of the next slab, to be read while panel `part` of `num_parts` of this one is multiplied.
  static void put_part_of_next(TileProduct& product, const Task& next, const WeightMatrix& weight, std::int64_t part,
                               std::int64_t num_parts) {
    if (weight.layout() != Layout::tile) return;
    const std::span<const std::byte> stored = weight.tile_rows(next.matrix_idx, next.cols.begin, next.cols.size());
    const auto size = static_cast<std::int64_t>(stored.size());
    product.next = stored.data() + size * part / num_parts;
    product.next_bytes = size * (part + 1) / num_parts - size * part / num_parts;
  }

  void finish_panel(const Task& task, Range rows, std::int64_t first_sum, std::int64_t num_x_tiles) {
    const auto take = [&](std::size_t idx) {
      sums_.reserve(static_cast<std::size_t>(kPanelRows * plan_.col_block), memory_);
      kernels().tiles->transpose_sums(tile_sums_[idx].data() + first_sum, num_x_tiles, round_up(task.cols.size(), kTileRows), sums_.data(),
                                      plan_.col_block);
    };
    take(0);
    if (problem_.up != nullptr) {
      std::swap(sums_, gates_);
      take(1);
    }
    finish(task, rows);
  }

  /// Few rows: the tiles are read where they lie, with the same sums as a slab gives. False when they must be decoded; the sums are then worth nothing.
  bool stream(const WeightMatrix& weight, const Task& task) {
    if (stream_ == nullptr || task.rows.size() > kMostStreamedRows) return false;
    if (!problem_.transpose_b) return plan_.k_block >= problem_.num_inputs() && stream_rows(weight, task);
    for (std::int64_t output = task.cols.begin; output < task.cols.end; output += kTileSize) {
      for (std::int64_t k = 0; k < problem_.num_inputs(); k += plan_.k_block) {
        const Range k_range = {k, std::min(k + plan_.k_block, problem_.num_inputs())};
        for (std::int64_t row = task.rows.begin; row < task.rows.end; row += kMaxStreamRows) {
          const Range rows = {row, std::min(row + kMaxStreamRows, task.rows.end)};
          if (!stream_dots(weight, task, rows, output, k_range)) return false;
        }
      }
    }
    return true;
  }

  /// 32 outputs of weights [out, in].
  bool stream_dots(const WeightMatrix& weight, const Task& task, Range rows, std::int64_t output, Range k) {
    TileRun run = tile_run(task, rows, k.begin);
    run.tiles = tile(weight, task.matrix_idx, output, k.begin);
    run.num_tiles = ceil_div(k.size(), kTileSize);
    float* sums = sums_.data() + (rows.begin - task.rows.begin) * plan_.col_block + output - task.cols.begin;
    run.out = sums;
    if (k.begin == 0) return stream_(run);
    products_.reserve(static_cast<std::size_t>(kMaxStreamRows * plan_.col_block), memory_);
    run.out = products_.data();
    if (!stream_(run)) return false;
    for (std::int64_t row = 0; row < rows.size(); ++row) {
      for (std::int64_t idx = 0; idx < kTileSize; ++idx) sums[row * plan_.col_block + idx] += run.out[row * run.out_stride + idx];
    }
    return true;
  }

  /// All outputs of weights [in, out], one row of tiles after the other.
  bool stream_rows(const WeightMatrix& weight, const Task& task) {
    for (std::int64_t row = task.rows.begin; row < task.rows.end; row += kMaxStreamRows) {
      const Range rows = {row, std::min(row + kMaxStreamRows, task.rows.end)};
      for (std::int64_t k = 0; k < problem_.num_inputs(); k += kTileSize) {
        TileRun run = tile_run(task, rows, k);
        run.tiles = tile(weight, task.matrix_idx, k, task.cols.begin);
        run.num_tiles = ceil_div(task.cols.size(), kTileSize);
        run.out = sums_.data() + (row - task.rows.begin) * plan_.col_block;
        if (!stream_(run)) return false;
      }
    }
    return true;
  }

  static const std::uint8_t* tile(const WeightMatrix& weight, std::int64_t matrix_idx, std::int64_t row, std::int64_t col) {
    return reinterpret_cast<const std::uint8_t*>(weight.tile_row(matrix_idx, row)) + col / kTileSize * tile_bytes(weight.dtype());
  }

  /// The activations of a run of tiles that begins at `k`.
  TileRun tile_run(const Task& task, Range rows, std::int64_t k) const {
    const RowGroup& group = problem_.groups[static_cast<std::size_t>(task.matrix_idx)];
    const Activations& x = *problem_.x;
    const std::int64_t first = group.first_x + rows.begin * group.step_x;
    TileRun run = {
        .num_x = rows.size(), .x_stride = group.step_x * x.padded_cols(), .out_stride = plan_.col_block, .asked_step = stream_step()};
    if (!problem_.transpose_b || problem_.fidelity != MathFidelity::LoFi) {
      run.x = x.floats(first) + k;
      return run;
    }
    run.codes = x.int8_rows().codes(first) + k;
    run.scales = x.int8_rows().scales(first) + k / kInt8Group;
    return run;
  }

  /// Adds the products of one slab; the first block of K needs no addition.
  void multiply_slab(const Task& task, Range rows, bool is_first) {
    progress_.note_work();
    const RowGroup& group = problem_.groups[static_cast<std::size_t>(task.matrix_idx)];
    const std::int64_t first_x = group.first_x + rows.begin * group.step_x;
    float* sums = sums_.data() + (rows.begin - task.rows.begin) * plan_.col_block;
    if (is_first) return slab_->multiply(first_x, group.step_x, rows.size(), sums, plan_.col_block);
    products_.reserve(static_cast<std::size_t>(plan_.row_block * plan_.col_block), memory_);
    slab_->multiply(first_x, group.step_x, rows.size(), products_.data(), plan_.col_block);
    for (std::int64_t idx = 0; idx < rows.size() * plan_.col_block; ++idx) sums[idx] += products_.data()[idx];
  }

  /// \param rows whose sums begin at sums_, and at gates_ where there are two weights
  void finish(const Task& task, Range rows) {
    const RowGroup& group = problem_.groups[static_cast<std::size_t>(task.matrix_idx)];
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      const std::int64_t offset = (row - rows.begin) * plan_.col_block;
      const std::span line(sums_.data() + offset, static_cast<std::size_t>(task.cols.size()));
      for (std::size_t idx = 0; idx < line.size() && !problem_.bias.empty(); ++idx)
        line[idx] += problem_.bias[static_cast<std::size_t>(task.cols.begin) + idx];
      if (plan_.activation) apply_unary(*plan_.activation, line);
      if (problem_.up != nullptr) gate(std::span(gates_.data() + offset, line.size()), line);
      writer_.write_at(group.first_y + row * group.step_y, task.cols.begin, line.data(), task.cols.size());
    }
  }

  /// line = f(gates) * line
  void gate(std::span<float> gates, std::span<float> line) const {
    const Gating& gating = *problem_.gating;
    const auto count = static_cast<std::int64_t>(line.size());
    if (gating.rounds_bf16) kernels().round_bf16(gates.data(), count);
    if (gating.rounds_bf16) kernels().round_bf16(line.data(), count);
    for (const UnaryOpType op : gating.activations) apply_unary(op, gates);
    for (std::size_t idx = 0; idx < line.size(); ++idx) line[idx] *= gates[idx];
  }

  const MatmulProblem& problem_;
  const MatmulPlan& plan_;
  const RowWriter& writer_;
  std::pmr::memory_resource& memory_;
  Progress& progress_;
  StreamKernel stream_;
  std::optional<Slab> slab_ = {};                           ///< made when weights must be decoded
  std::array<std::optional<TileSlab>, 2> tile_slabs_ = {};  ///< the same for products on tiles: of `weight` and `up`
  AlignedBuffer<float> sums_;                               ///< [rows of the task, col_block]
  AlignedBuffer<float> gates_;                              ///< the same of the first of two weights
  AlignedBuffer<float> products_;                           ///< [row_block, col_block]: of a further block of K
  std::array<AlignedBuffer<float>, 2> tile_sums_ = {};      ///< [panels, outputs, kPanelRows] of `weight` and `up`
};

using Tasks = std::pmr::vector<Task>;

/// One matrix: each core has its rectangle of the result.
std::pmr::vector<Tasks> split_one(const MatmulProblem& problem, const MatmulPlan& plan, std::pmr::memory_resource& memory) {
  std::pmr::vector<Tasks> tasks(static_cast<std::size_t>(plan.num_cores()), &memory);
  for (std::int64_t core = 0; core < plan.num_cores(); ++core) {
    const std::int64_t row_core = plan.cores_by_column ? core % plan.row_cores : core / plan.col_cores;
    const std::int64_t col_core = plan.cores_by_column ? core / plan.row_cores : core % plan.col_cores;
    const Range rows = {row_core * plan.rows_per_core, std::min((row_core + 1) * plan.rows_per_core, problem.groups[0].count)};
    const Range cols = {col_core * plan.cols_per_core, std::min((col_core + 1) * plan.cols_per_core, problem.num_outputs())};
    if (rows.size() > 0 && cols.size() > 0) tasks[static_cast<std::size_t>(core)].push_back({0, rows, cols});
  }
  return tasks;
}

/// Reading and decoding a weight costs about as much as multiplying it with this many rows.
constexpr std::int64_t kDecodeCost = 8;

std::int64_t cost_of(const Task& task) { return (task.rows.size() + kDecodeCost) * task.cols.size(); }

/// A stack: its pieces in order, in runs of equal cost. Experts have different numbers of rows.
std::pmr::vector<Tasks> split_stack(const MatmulProblem& problem, const MatmulPlan& plan, std::pmr::memory_resource& memory) {
  std::int64_t total = 0;
  for (const RowGroup& group : problem.groups) total += group.count > 0 ? (group.count + kDecodeCost) * problem.num_outputs() : 0;
  std::pmr::vector<Tasks> tasks(static_cast<std::size_t>(plan.num_cores()), &memory);
  std::int64_t cost = 0;
  for (std::size_t matrix_idx = 0; matrix_idx < problem.groups.size(); ++matrix_idx) {
    const std::int64_t num_rows = problem.groups[matrix_idx].count;
    for (std::int64_t col = 0; col < problem.num_outputs() && num_rows > 0; col += plan.cols_per_core) {
      const Task task = {
          static_cast<std::int64_t>(matrix_idx), {0, num_rows}, {col, std::min(col + plan.cols_per_core, problem.num_outputs())}};
      tasks[static_cast<std::size_t>(cost * plan.num_cores() / total)].push_back(task);
      cost += cost_of(task);
    }
  }
  return tasks;
}

/// Appends the slabs of a share.
void cut_into_slabs(const Tasks& share, std::int64_t col_block, Tasks& slabs) {
  for (const Task& task : share) {
    for (std::int64_t col = task.cols.begin; col < task.cols.end; col += col_block)
      slabs.push_back({task.matrix_idx, task.rows, {col, std::min(col + col_block, task.cols.end)}});
  }
}

/// The slabs of all shares, the dearest first: what a thread takes last is then small.
Tasks dearest_first(std::span<const Tasks> shares, std::int64_t col_block, std::pmr::memory_resource& memory) {
  Tasks slabs(&memory);
  for (const Tasks& share : shares) cut_into_slabs(share, col_block, slabs);
  std::stable_sort(slabs.begin(), slabs.end(), [](const Task& a, const Task& b) { return cost_of(a) > cost_of(b); });
  return slabs;
}

/// From so many rows on (of one matrix) threads take slabs as they become free: one that lost its core delays the others by a slab, not by half a product.
/// Fewer rows are decode, where each core streams its own outputs.
constexpr std::int64_t kDealtRows = 32;

bool is_dealt(const MatmulProblem& problem) {
  return std::any_of(problem.groups.begin(), problem.groups.end(), [](const RowGroup& group) { return group.count >= kDealtRows; });
}

/// Each thread runs the slabs of its cores in their order, then helps the others.
void run_shares(const MatmulProblem& problem, const MatmulPlan& plan, const RowWriter& writer, std::span<const Tasks> shares,
                Device& device) {
  std::pmr::memory_resource& memory = device.scratch();
  const std::size_t num_threads = std::min(shares.size(), device.team().size());
  Tasks slabs(&memory);
  AlignedBuffer<SlabQueue> queues(num_threads, memory);
  for (std::size_t thread = 0; thread < num_threads; ++thread) {
    const std::size_t first = slabs.size();
    for (std::size_t core = shares.size() * thread / num_threads; core < shares.size() * (thread + 1) / num_threads; ++core)
      cut_into_slabs(shares[core], plan.col_block, slabs);
    std::construct_at(queues.data() + thread)->fill(static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(slabs.size()));
  }
  device.team().parallel_for(num_threads, 1, [&](std::size_t begin, std::size_t end) {
    Core core(problem, plan, writer, device);
    for (std::size_t thread = begin; thread < end; ++thread) {
      while (const auto slab = queues.data()[thread].take_front()) core.run(slabs[*slab], nullptr);
    }
    for (std::size_t step = 0; step < num_threads; ++step) {
      while (const auto slab = queues.data()[(end + step) % num_threads].take_back()) core.run(slabs[*slab], nullptr);
    }
  });
}

}  // namespace

void matmul(const MatmulProblem& problem, const MatmulPlan& plan, Tensor& y, Device& device) {
  const RowWriter writer(y, problem.num_outputs());
  std::pmr::memory_resource& memory = device.scratch();
  const std::pmr::vector<Tasks> tasks = problem.groups.size() == 1 ? split_one(problem, plan, memory) : split_stack(problem, plan, memory);
  if (is_dealt(problem)) {
    const Tasks slabs = dearest_first(tasks, plan.col_block, memory);
    std::atomic<std::size_t> next = 0;
    const std::size_t num_threads = std::min(tasks.size(), device.team().size());
    device.team().parallel_for(num_threads, 1, [&](std::size_t, std::size_t) {
      Core core(problem, plan, writer, device);
      for (std::size_t idx = next++; idx < slabs.size(); idx = next++)
        core.run(slabs[idx], idx + num_threads < slabs.size() ? &slabs[idx + num_threads] : nullptr);
    });
    return;
  }
  run_shares(problem, plan, writer, tasks, device);
}

}  // namespace meshseek::cpu
