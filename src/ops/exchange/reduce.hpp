/// Sums over the devices of a group, in float32.
#pragma once
#include <vector>

#include "ops/exchange/exchange.hpp"
#include "ops/exchange/wire.hpp"

namespace meshseek::exchange {

/// A tensor cut into one part for each device; all devices have equal parts. An empty part takes no message.
struct Reduction {
  const Tensor* x = nullptr;
  std::vector<StridedPart> parts = {};  ///< by position
  /// The sum of this device's parts: their volume values as float32.
  float* sum = nullptr;
  std::int64_t num_links = 1;
};

/// Each sends the others' parts to them; sums in the order of the devices.
void reduce_direct(Exchange& exchange, const Wire& wire, const Reduction& reduction);
/// Part p begins at the device after p and is passed on until it comes to p.
void reduce_ring(Exchange& exchange, const Wire& wire, const Reduction& reduction);
/// Part p comes from both ends.
void reduce_linear(Exchange& exchange, const Wire& wire, const Reduction& reduction);

/// Every device's whole x is sent to all, and every device sums all of it in the order of the devices.
void reduce_whole(Exchange& exchange, const Wire& wire, const Tensor& x, float* sum);

}  // namespace meshseek::exchange
