/// Mixture-of-experts feed-forward block.
#pragma once
#include <optional>

#include "modules/experts/experts.hpp"
#include "modules/moe_gate/moe_gate.hpp"
#include "modules/shared_expert/shared_expert.hpp"
#include "ops/binary_config.hpp"

namespace meshseek {

/// y = sum_j w_j Expert_j(x) + Shared(x). The weight multiplies the expert's output; sums are float32.
class Moe {
 public:
  struct Config {
    MoeGate::Config gate = {};
    MoeDispatchConfig dispatch = {};
    Experts::Config experts = {};
    MoeCombineConfig combine = {};
    std::optional<SharedExpert::Config> shared_expert = {};
    std::optional<BinaryConfig> add_shared = {};

    static constexpr auto fields() {
      return std::tuple{field("gate", &Config::gate, "router"),
                        field("dispatch", &Config::dispatch, "groups tokens by expert"),
                        field("experts", &Config::experts, "routed experts"),
                        field("combine", &Config::combine, "weighted sum of the experts' results"),
                        field("shared_expert", &Config::shared_expert, "experts that every token visits"),
                        field("add_shared", &Config::add_shared, "adds the shared expert's result")};
    }
  };

  static WeightConfig convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh);
  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  Moe(const HfConfig& hf, const MeshDevice& mesh);

  struct Output {
    Tensor y = {};  ///< [T, hidden_size]
    Routing routing = {};
  };
  /// \param x [T, hidden_size]
  Output forward(const Tensor& x, const Config& cfg) const;

 private:
  std::int64_t num_experts_;
  MoeGate gate_;
  Experts experts_;
  SharedExpert shared_expert_;
};

}  // namespace meshseek
