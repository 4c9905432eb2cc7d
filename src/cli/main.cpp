#include "cli/program.hpp"

int main(int argc, char** argv) { return meshseek::cli::run_program(argc, argv); }
