/// The name of this machine.
#pragma once
#include <string>

namespace meshseek {

std::string host_name();

}  // namespace meshseek
