// Stage 3 links without the other stages: run_alone STORE PREFILL DECODE
#include <cstdio>

#include "base/file.hpp"
#include "stage3_run/runner.hpp"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const auto config = [](const char* path) { return meshseek::parse_json(meshseek::read_text_file(path), path); };
  meshseek::Runner runner(argv[1], config(argv[2]), config(argv[3]), {.max_tokens = 16});
  const std::int64_t ids[] = {3, 4, 5};
  const meshseek::Tensor logits = runner.prefill(ids, meshseek::Model::Logits::last).logits;
  std::printf("%s\n", meshseek::to_string(logits.shape()).c_str());
  return logits.dim(1) == runner.hf_config().vocab_size ? 0 : 1;
}
