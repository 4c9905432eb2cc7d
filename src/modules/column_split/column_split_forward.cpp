#include <vector>

#include "mesh/communicator.hpp"
#include "mesh/device.hpp"
#include "mesh/shards.hpp"
#include "modules/column_split/column_split.hpp"
#include "ops/collectives.hpp"
#include "ops/concat.hpp"
#include "ops/linear.hpp"

namespace meshseek {

ColumnSplit::ColumnSplit(const HfConfig& hf, const MeshDevice& mesh)
    : cols_(mesh.shape.cols), hidden_size_(hf.hidden_size), padded_size_(column_piece(hf.hidden_size, mesh.shape) * mesh.shape.cols) {}

Tensor ColumnSplit::padded(const Tensor& x) const { return padded_size_ == hidden_size_ ? x : pad_columns(x, padded_size_); }

Tensor ColumnSplit::whole(const Tensor& x, const std::optional<AllGatherConfig>& cfg) const {
  if (!cfg) return x;
  Tensor all = all_gather(x, *cfg);  // [T, padded_size]
  return padded_size_ == hidden_size_ ? all : slice_columns(all, 0, hidden_size_);
}

Tensor ColumnSplit::piece(const Tensor& x) const {
  const std::int64_t size = padded_size_ / cols_;
  const std::int64_t begin = x.device()->communicator().col() * size;
  return slice_columns(padded(x), begin, begin + size);
}

Tensor ColumnSplit::term(const Tensor& x, const LinearConfig& cfg) const {
  if (!cfg.bias || x.device()->communicator().col() == 0) return linear(x, cfg);
  LinearConfig without_bias = cfg;
  without_bias.bias.reset();
  return linear(x, without_bias);
}

Tensor ColumnSplit::sum(const Tensor& term, const ReduceScatterConfig& cfg) const { return reduce_scatter(padded(term), cfg); }

Tensor ColumnSplit::product(const Tensor& x, const LinearConfig& cfg, std::int64_t out, const std::optional<AllReduceConfig>& add,
                            const std::optional<AllGatherConfig>& join) const {
  if (!join) return all_reduce(term(x, cfg), *add);
  Tensor all = all_gather(linear(x, cfg), *join);  // [T, outputs of all columns]
  return all.dim(1) == out ? all : slice_columns(all, 0, out);
}

Tensor ColumnSplit::inputs(const Tensor& x, const LinearConfig& cfg, const std::optional<AllGatherConfig>& gather) const {
  if (!gather) return x;
  const std::int64_t in = cfg.input_tensor_b.tensor.dim(-1);
  Tensor all = all_gather(x, *gather);  // [T, inputs of all columns]
  return all.dim(1) == in ? all : slice_columns(all, 0, in);
}

Tensor ColumnSplit::product_piece(const Tensor& x, const LinearConfig& cfg, const std::optional<ReduceScatterConfig>& add,
                                  const std::optional<AllGatherConfig>& gather) const {
  return gather ? linear(inputs(x, cfg, gather), cfg) : sum(term(x, cfg), *add);
}

Tensor ColumnSplit::rows_of_columns(const Tensor& rows, const AllToAllRowsConfig& cfg) const {
  const std::int64_t num_rows = rows.dim(0);
  const Tensor pieces = padded(rows).reshape({num_rows * cols_, padded_size_ / cols_});  // [R * C, piece]
  std::vector<std::int64_t> by_column;
  for (std::int64_t col = 0; col < cols_; ++col) {
    for (std::int64_t row = 0; row < num_rows; ++row) by_column.push_back(row * cols_ + col);
  }
  const std::vector<std::int64_t> counts(static_cast<std::size_t>(cols_), num_rows);
  return all_to_all_rows(take_rows(pieces, by_column), counts, cfg).rows;  // [rows of all columns, piece]
}

}  // namespace meshseek
