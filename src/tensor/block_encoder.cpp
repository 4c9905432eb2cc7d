#include "tensor/block_encoder.hpp"

namespace meshseek {

const BlockEncoder* block_encoders::find(std::string_view isa) {
  const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                          __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
  if (isa == "avx512") return has_avx512 ? &kAvx512 : nullptr;
  if (isa == "avx2") return has_avx2 ? &kAvx2 : nullptr;
  return isa == "baseline" ? &kBaseline : nullptr;
}

const BlockEncoder& block_encoder() {
  static const BlockEncoder& chosen = []() -> const BlockEncoder& {
    for (const char* isa : {"avx512", "avx2"}) {
      if (const BlockEncoder* encoder = block_encoders::find(isa)) return *encoder;
    }
    return block_encoders::kBaseline;
  }();
  return chosen;
}

}  // namespace meshseek
