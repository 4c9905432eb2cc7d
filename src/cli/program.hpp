/// The program `meshseek`.
#pragma once

namespace meshseek::cli {

/// Parses the command line and runs one verb. Errors are one line on stderr, "meshseek: <message>".
/// \return 0 done, 1 the work failed, 2 usage, 130 interrupted
int run_program(int argc, const char* const* argv);

}  // namespace meshseek::cli
