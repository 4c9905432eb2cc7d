// Feeds the files of a corpus to a fuzz target without a fuzzer, so that a finding stays fixed on every compiler.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  int num_files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    // Said before, so that the last line names the input that ended the program.
    std::fprintf(stderr, "%s\n", entry.path().filename().c_str());
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    ++num_files;
  }
  std::printf("%d inputs\n", num_files);
  return num_files > 0 ? 0 : 1;
}
