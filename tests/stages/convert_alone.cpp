// Stage 1 links without the other stages: convert_alone CHECKPOINT STORE
#include <cstdio>

#include "stage1_convert/convert.hpp"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const meshseek::ConvertReport report = meshseek::convert_checkpoint(argv[1], argv[2], {});
  std::printf("%lld tensors\n", static_cast<long long>(report.files.size()));
  return report.files.size() > 0 ? 0 : 1;
}
