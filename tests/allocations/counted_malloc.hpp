/// How often this process has asked the C library for memory.
#pragma once
#include <cstdint>

namespace meshseek::testing {

std::int64_t num_allocations();

}  // namespace meshseek::testing
