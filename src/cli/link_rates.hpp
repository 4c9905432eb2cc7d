/// What messages between two devices of this process cost.
#pragma once
#include "cli/mesh_plan.hpp"

namespace meshseek::cli {

/// Latency of the smallest message there and back, halved; rate of 4 MiB messages one after the other; each the median of several rounds. About a tenth of a second.
LinkRates measure_local_link();

}  // namespace meshseek::cli
