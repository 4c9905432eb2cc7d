/// What messages between two devices cost.
#pragma once
#include "cli/mesh_plan.hpp"
#include "mesh/communicator.hpp"

namespace meshseek::cli {

/// Two devices send to each other at once, as in a collective: the smallest messages, one (latency) or several (what each further one costs), and 4 MiB (rate,
/// without the latency); each the median of several repetitions. Both call it. A tenth of a second, and 50 MB each way.
LinkRates measure_link(Communicator& communicator, std::int64_t peer);

/// Between two devices of this process.
LinkRates measure_local_link();

}  // namespace meshseek::cli
