#include "modules/lm_head/lm_head.hpp"

namespace meshseek {

LmHead::Config LmHead::prefill_model_config(const HfConfig& hf, const MeshDevice&) {
  return {.input_tensor_b = {.shape = {hf.vocab_size, hf.hidden_size}},
          .dtype = DataType::float32,
          .compute_kernel_config = {.math_fidelity = MathFidelity::HiFi2}};
}

LmHead::Config LmHead::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return prefill_model_config(hf, mesh); }

}  // namespace meshseek
