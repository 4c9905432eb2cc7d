/// Collectives that move elements without computing: each device sends parts of its tensor and puts what it gets into parts of its result.
#pragma once
#include <vector>

#include "ops/collectives_config.hpp"
#include "ops/exchange/exchange.hpp"
#include "ops/exchange/wire.hpp"

namespace meshseek::exchange {

/// What goes from one device to another.
struct Transfer {
  StridedPart source = {};  ///< of the sender's tensor
  StridedPart target = {};  ///< of the receiver's result; equal volume
};

/// Writable bytes of a tensor of any type that was just made.
std::byte* writable_bytes(Tensor& tensor);

/// Each to each at once. \param outgoing, \param incoming by position; that to this device itself stands in both
void move_direct(Exchange& exchange, const Wire& wire, const Tensor& x, const std::vector<Transfer>& outgoing, Tensor& y,
                 const std::vector<Transfer>& incoming);

/// Every device gets every other's whole x into `targets[its position]` of y. Neighbours pass messages on, each of them in `num_links`
/// chunks.
void gather_ring(Exchange& exchange, const Wire& wire, const Tensor& x, Tensor& y, const std::vector<StridedPart>& targets,
                 std::int64_t num_links);
void gather_linear(Exchange& exchange, const Wire& wire, const Tensor& x, Tensor& y, const std::vector<StridedPart>& targets,
                   std::int64_t num_links);

/// The root's x into the y of all, in y's shape.
void broadcast(Exchange& exchange, const Wire& wire, const Tensor& x, Tensor& y, std::int64_t root, Topology topology,
               std::int64_t num_links);

}  // namespace meshseek::exchange
