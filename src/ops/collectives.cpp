#include "ops/collectives.hpp"

#include <fmt/format.h>

#include <functional>
#include <numeric>

#include "ops/capture.hpp"
#include "ops/exchange/collective_call.hpp"
#include "ops/exchange/move.hpp"
#include "ops/exchange/reduce.hpp"
#include "ops/memory.hpp"
#include "ops/validate.hpp"

namespace meshseek {
namespace {

using exchange::CollectiveCall;
using exchange::contiguous_part;
using exchange::Exchange;
using exchange::part_of;
using exchange::StridedPart;
using exchange::Transfer;
using exchange::Wire;

/// A dimension of x by an index that may count from the end. \throws ShapeError
std::int64_t dim_of(const Tensor& x, std::int64_t dim, std::string_view op) {
  const std::int64_t idx = dim < 0 ? dim + x.rank() : dim;
  if (idx >= 0 && idx < x.rank()) return idx;
  throw ShapeError(fmt::format("[{}] x {} has no dimension {}; expected {} to {}", op, to_string(x.shape()), dim, -x.rank(), x.rank() - 1));
}

/// Size of a dimension in each of `num` equal parts. \throws ShapeError
std::int64_t part_size(const Tensor& x, std::int64_t dim, std::int64_t num, std::string_view op) {
  const std::int64_t size = x.shape()[static_cast<std::size_t>(dim)];
  if (size % num == 0) return size / num;
  throw ShapeError(fmt::format("[{}] dimension {} of x {} is shared out over {} devices; expected a multiple of {}: pad it", op, dim,
                               to_string(x.shape()), num, num));
}

Shape with_dim(Shape shape, std::int64_t dim, std::int64_t size) {
  shape[static_cast<std::size_t>(dim)] = size;
  return shape;
}

Tensor make_output(const Tensor& x, Shape shape, Device& device, std::string_view op) {
  return make_result(std::move(shape), x.dtype(), {}, device, op);
}

std::vector<Transfer> equal_transfers(std::int64_t num, const std::function<Transfer(std::int64_t)>& transfer) {
  std::vector<Transfer> transfers;
  for (std::int64_t position = 0; position < num; ++position) transfers.push_back(transfer(position));
  return transfers;
}

/// Every device's parts go to every place of y.
void gather(Exchange& exchange, const Wire& wire, const Tensor& x, Tensor& y, const std::vector<StridedPart>& targets, Topology topology,
            std::int64_t num_links) {
  if (topology == Topology::Ring) return gather_ring(exchange, wire, x, y, targets, num_links);
  if (topology == Topology::Linear) return gather_linear(exchange, wire, x, y, targets, num_links);
  const StridedPart whole = contiguous_part(0, x.volume());
  const auto outgoing = equal_transfers(exchange.size(), [&](std::int64_t) { return Transfer{.source = whole}; });
  const auto incoming = equal_transfers(exchange.size(), [&](std::int64_t from) {
    const StridedPart& target = targets[static_cast<std::size_t>(from)];
    return Transfer{.source = contiguous_part(0, target.volume()), .target = target};
  });
  move_direct(exchange, wire, x, outgoing, y, incoming);
}

void reduce(Exchange& exchange, const Wire& wire, const exchange::Reduction& reduction, Topology topology) {
  if (topology == Topology::Ring) return reduce_ring(exchange, wire, reduction);
  if (topology == Topology::Linear) return reduce_linear(exchange, wire, reduction);
  reduce_direct(exchange, wire, reduction);
}

/// Where float32 sums of a result are made: in the result itself where that is float32.
float* sums_of(Tensor& y, std::int64_t count, Exchange& exchange) {
  if (y.dtype() == DataType::float32) return y.mutable_data<float>().data();
  return reinterpret_cast<float*>(exchange.scratch(count * 4));
}

void store_sums(const float* sums, std::int64_t count, Tensor& y) {
  if (y.dtype() != DataType::float32) exchange::write_floats(sums, count, exchange::writable_bytes(y), y.dtype(), 0);
}

/// Parts of the flattened tensor for all devices, each but the last ones of the same whole number of blocks.
std::vector<StridedPart> flat_parts(std::int64_t count, std::int64_t num) {
  const std::int64_t size = round_up(ceil_div(count, num), kFaceSize);
  std::vector<StridedPart> parts;
  for (std::int64_t idx = 0; idx < num; ++idx)
    parts.push_back(contiguous_part(std::min(count, idx * size), std::min(count, (idx + 1) * size)));
  return parts;
}

/// reduce_scatter of the flattened tensor, then all_gather of the sums.
void all_reduce_in_two(Exchange& exchange, const Wire& wire, const Tensor& x, Tensor& y, const AllReduceConfig& cfg) {
  const std::vector<StridedPart> parts = flat_parts(x.volume(), exchange.size());
  const StridedPart& own = parts[static_cast<std::size_t>(exchange.position())];
  Tensor part = Tensor::empty({own.volume()}, x.dtype(), &exchange.device());
  float* sums = sums_of(part, own.volume(), exchange);
  reduce(exchange, wire, {.x = &x, .parts = parts, .sum = sums, .num_links = cfg.num_reduce_scatter_links}, cfg.topology);
  store_sums(sums, own.volume(), part);
  gather(exchange, wire, part, y, parts, cfg.topology, cfg.num_all_gather_links);
}

}  // namespace

Tensor all_reduce(const Tensor& x, const AllReduceConfig& cfg) {
  const RecordedCall recorded(x, "all_reduce", cfg, [&](CallValues& in) { in.add("x", x); });
  validate(cfg, "all_reduce");
  CollectiveCall call(x, cfg.cluster_axis, MessageTag::all_reduce);
  if (call.is_alone()) return recorded.result(x);
  const Wire wire(x.dtype(), cfg.dtype, "all_reduce");
  call.check_summable(x);
  Tensor y = make_output(x, x.shape(), call.device(), "all_reduce");  // as x
  call.run([&](Exchange& exchange) {
    const bool is_small =
        cfg.topology == Topology::Direct && wire.is_plain() && static_cast<std::int64_t>(x.bytes().size()) <= kMostWholeBytes;
    if (cfg.use_composite && !is_small) return all_reduce_in_two(exchange, wire, x, y, cfg);
    float* sums = sums_of(y, y.volume(), exchange);
    reduce_whole(exchange, wire, x, sums);
    store_sums(sums, y.volume(), y);
  });
  return recorded.result(std::move(y));
}

Tensor all_gather(const Tensor& x, const AllGatherConfig& cfg) {
  const RecordedCall recorded(x, "all_gather", cfg, [&](CallValues& in) { in.add("x", x); });
  validate(cfg, "all_gather");
  CollectiveCall call(x, cfg.cluster_axis, MessageTag::all_gather);
  if (call.is_alone()) return recorded.result(x);
  const Wire wire(x.dtype(), cfg.dtype, "all_gather");
  const std::int64_t dim = dim_of(x, cfg.dim, "all_gather");
  Tensor y;  // [.., sum of x's dim over the devices, ..]
  call.run([&](Exchange& exchange) {
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(exchange.size()), x.shape()[static_cast<std::size_t>(dim)]);
    if (cfg.uneven) sizes = exchange.swap_numbers(sizes);
    const std::int64_t total = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
    y = make_output(x, with_dim(x.shape(), dim, total), call.device(), "all_gather");
    std::vector<StridedPart> targets;
    std::int64_t begin = 0;
    for (const std::int64_t size : sizes) {
      targets.push_back(part_of(y.shape(), dim, begin, begin + size));
      begin += size;
    }
    gather(exchange, wire, x, y, targets, cfg.topology, cfg.num_links);
  });
  return recorded.result(std::move(y));
}

Tensor reduce_scatter(const Tensor& x, const ReduceScatterConfig& cfg) {
  const RecordedCall recorded(x, "reduce_scatter", cfg, [&](CallValues& in) { in.add("x", x); });
  validate(cfg, "reduce_scatter");
  CollectiveCall call(x, cfg.cluster_axis, MessageTag::reduce_scatter);
  if (call.is_alone()) return recorded.result(x);
  const Wire wire(x.dtype(), cfg.dtype, "reduce_scatter");
  call.check_summable(x);
  const std::int64_t dim = dim_of(x, cfg.dim, "reduce_scatter");
  const std::int64_t size = part_size(x, dim, call.size(), "reduce_scatter");
  Tensor y = make_output(x, with_dim(x.shape(), dim, size), call.device(), "reduce_scatter");  // [.., x's dim / devices, ..]
  call.run([&](Exchange& exchange) {
    exchange::Reduction reduction = {.x = &x, .sum = sums_of(y, y.volume(), exchange), .num_links = cfg.num_links};
    for (std::int64_t idx = 0; idx < exchange.size(); ++idx)
      reduction.parts.push_back(part_of(x.shape(), dim, idx * size, (idx + 1) * size));
    reduce(exchange, wire, reduction, cfg.topology);
    store_sums(reduction.sum, y.volume(), y);
  });
  return recorded.result(std::move(y));
}

Tensor all_to_all(const Tensor& x, const AllToAllConfig& cfg) {
  const RecordedCall recorded(x, "all_to_all", cfg, [&](CallValues& in) { in.add("x", x); });
  validate(cfg, "all_to_all");
  CollectiveCall call(x, cfg.cluster_axis, MessageTag::all_to_all);
  if (call.is_alone()) return recorded.result(x);
  const Wire wire(x.dtype(), cfg.dtype, "all_to_all");
  const std::int64_t in_dim = dim_of(x, cfg.in_dim, "all_to_all");
  const std::int64_t out_dim = dim_of(x, cfg.out_dim, "all_to_all");
  if (in_dim == out_dim)
    throw ShapeError(fmt::format("[all_to_all] in_dim and out_dim are dimension {} of x {}", in_dim, to_string(x.shape())));
  const std::int64_t in_size = x.shape()[static_cast<std::size_t>(in_dim)];
  const std::int64_t out_size = part_size(x, out_dim, call.size(), "all_to_all");
  const Shape shape = with_dim(with_dim(x.shape(), in_dim, in_size * call.size()), out_dim, out_size);
  Tensor y = make_output(x, shape, call.device(), "all_to_all");  // [.., devices * in, .., out / devices, ..]
  call.run([&](Exchange& exchange) {
    const auto slice = [&](std::int64_t position) { return part_of(x.shape(), out_dim, position * out_size, (position + 1) * out_size); };
    const auto place = [&](std::int64_t position) { return part_of(shape, in_dim, position * in_size, (position + 1) * in_size); };
    const auto outgoing = equal_transfers(exchange.size(), [&](std::int64_t to) { return Transfer{.source = slice(to)}; });
    const auto incoming = equal_transfers(
        exchange.size(), [&](std::int64_t from) { return Transfer{.source = slice(exchange.position()), .target = place(from)}; });
    move_direct(exchange, wire, x, outgoing, y, incoming);
  });
  return recorded.result(std::move(y));
}

Tensor mesh_partition(const Tensor& x, const MeshPartitionConfig& cfg) {
  const RecordedCall recorded(x, "mesh_partition", cfg, [&](CallValues& in) { in.add("x", x); });
  validate(cfg, "mesh_partition");
  const CollectiveCall call(x, cfg.cluster_axis, "mesh_partition");
  if (call.is_alone()) return recorded.result(x);
  const std::int64_t dim = dim_of(x, cfg.dim, "mesh_partition");
  const std::int64_t size = part_size(x, dim, call.size(), "mesh_partition");
  Tensor y = make_output(x, with_dim(x.shape(), dim, size), call.device(), "mesh_partition");  // [.., x's dim / devices, ..]
  const StridedPart own = part_of(x.shape(), dim, call.position() * size, (call.position() + 1) * size);
  exchange::copy_part(x.bytes().data(), own, exchange::writable_bytes(y), contiguous_part(0, y.volume()),
                      static_cast<std::int64_t>(element_bytes(x.dtype())), call.device().team());
  return recorded.result(std::move(y));
}

}  // namespace meshseek
