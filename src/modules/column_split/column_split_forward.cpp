#include "mesh/communicator.hpp"
#include "mesh/device.hpp"
#include "mesh/shards.hpp"
#include "modules/column_split/column_split.hpp"
#include "ops/collectives.hpp"
#include "ops/concat.hpp"
#include "ops/linear.hpp"

namespace meshseek {

ColumnSplit::ColumnSplit(const HfConfig& hf, const MeshDevice& mesh)
    : hidden_size_(hf.hidden_size), padded_size_(column_piece(hf.hidden_size, mesh.shape) * mesh.shape.cols) {}

Tensor ColumnSplit::whole(const Tensor& x, const AllGatherConfig& cfg) const {
  Tensor all = all_gather(x, cfg);  // [T, padded_size]
  return padded_size_ == hidden_size_ ? all : slice_columns(all, 0, hidden_size_);
}

Tensor ColumnSplit::term(const Tensor& x, const LinearConfig& cfg) const {
  if (!cfg.bias || x.device()->communicator().col() == 0) return linear(x, cfg);
  LinearConfig without_bias = cfg;
  without_bias.bias.reset();
  return linear(x, without_bias);
}

Tensor ColumnSplit::sum(const Tensor& term, const ReduceScatterConfig& cfg) const {
  return reduce_scatter(padded_size_ == hidden_size_ ? term : pad_columns(term, padded_size_), cfg);
}

}  // namespace meshseek
