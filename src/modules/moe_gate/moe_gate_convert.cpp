#include "hf/state_dict_view.hpp"
#include "modules/moe_gate/moe_gate.hpp"

namespace meshseek {

WeightConfig MoeGate::convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output, const MeshShape&) {
  const Shape shape = {hf.n_routed_experts, hf.hidden_size};
  Tree linear;
  linear.set("input_tensor_b", output.sub("linear").write("input_tensor_b", shape, state_dict.rows("weight", shape), WeightRole::precise));
  WeightConfig config;
  config.set("linear", std::move(linear));
  if (hf.topk_method == "noaux_tc") {
    Tree router;
    router.set("e_score_correction_bias",
               output.sub("router").write("e_score_correction_bias", {hf.n_routed_experts},
                                          state_dict.rows("e_score_correction_bias", {hf.n_routed_experts}), WeightRole::exact));
    config.set("router", std::move(router));
  }
  return config;
}

}  // namespace meshseek
