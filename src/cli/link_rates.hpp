/// What messages between two devices cost.
#pragma once
#include "cli/mesh_plan.hpp"
#include "mesh/communicator.hpp"

namespace meshseek::cli {

/// Latency of the smallest message there and back, halved; time of each of many small messages that follow each other; rate of 4 MiB messages one after the
/// other, without their latency; each the median of several rounds. Both devices call it; `is_first` speaks first. A tenth of a second, and 50 MB on the link.
LinkRates measure_link(Communicator& communicator, std::int64_t peer, bool is_first);

/// Between two devices of this process.
LinkRates measure_local_link();

}  // namespace meshseek::cli
