// Stage 2 links without the other stages and needs only config.json: configure_alone FOLDER OUT_PREFILL OUT_DECODE
#include "base/file.hpp"
#include "stage2_configure/configure.hpp"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const meshseek::HfConfig hf = meshseek::read_hf_config(argv[1]);
  meshseek::write_file_atomically(argv[2], meshseek::to_json(meshseek::make_model_config(hf, {.mode = meshseek::Mode::prefill})));
  meshseek::write_file_atomically(argv[3], meshseek::to_json(meshseek::make_model_config(hf, {.mode = meshseek::Mode::decode})));
  return 0;
}
