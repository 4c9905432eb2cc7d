#include "modules/rope/rope.hpp"

namespace meshseek {

Rope::Config Rope::prefill_model_config(const HfConfig& hf, const MeshDevice&) { return {.interleaved = hf.rope.interleave}; }

Rope::Config Rope::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return prefill_model_config(hf, mesh); }

}  // namespace meshseek
