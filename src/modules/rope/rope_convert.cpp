#include "hf/state_dict_view.hpp"
#include "modules/rope/rope.hpp"

namespace meshseek {

WeightConfig Rope::convert_weights(const HfConfig&, const StateDictView&, const WeightOutput&, const MeshShape&) {
  return WeightConfig(Tree::Object{});
}

}  // namespace meshseek
