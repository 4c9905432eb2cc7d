/// Configs of the attention operators and of the latent cache.
#pragma once
#include "ops/common_config.hpp"

namespace meshseek {

/// naive: keys and values are expanded from the latent. absorbed: queries are projected into the latent space instead.
enum class MlaForm : std::uint8_t { naive, absorbed };
constexpr auto enum_names(MlaForm) {
  return std::array<std::pair<MlaForm, std::string_view>, 2>{{{MlaForm::naive, "naive"}, {MlaForm::absorbed, "absorbed"}}};
}

struct FlashMlaConfig {
  static constexpr std::string_view kOp = "FlashMla";

  MlaForm form = MlaForm::naive;
  double scale = 0.0;                              ///< softmax scale: qk_head_dim^-0.5, times g(factor, mscale_all_dim)^2 under YaRN
  ComputeKernelConfig compute_kernel_config = {};  ///< HiFi2: bf16 where the machine has tiles; float32 else, and always with HiFi4
  DataType dtype = DataType::bfloat16;             ///< of the result
  MemoryConfig memory_config = {};                 ///< of the result

  static constexpr auto fields() {
    return std::tuple{field("form", &FlashMlaConfig::form, "naive (expanded keys and values) or absorbed (latent)"),
                      field("scale", &FlashMlaConfig::scale, "factor on the scores before the softmax"),
                      field("compute_kernel_config", &FlashMlaConfig::compute_kernel_config,
                            "HiFi4: float32; HiFi2: bf16 where the machine has tiles (absorbed: with 16 heads or more), else float32"),
                      field("dtype", &FlashMlaConfig::dtype, "element type of the result: float32 or bfloat16"),
                      field("memory_config", &FlashMlaConfig::memory_config, "where the result lies and which core computes what")};
  }
};

struct UpdateCacheConfig {
  static constexpr std::string_view kOp = "UpdateCache";

  DataType dtype = DataType::bfloat16;  ///< of the cache: float32 or bfloat16

  static constexpr auto fields() { return std::tuple{field("dtype", &UpdateCacheConfig::dtype, "element type of the latent cache")}; }
};

}  // namespace meshseek
