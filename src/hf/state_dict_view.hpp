/// The tensors of a checkpoint below one name prefix: what a module's convert_weights() sees.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "hf/state_dict.hpp"

namespace meshseek {

class StateDictView {
 public:
  explicit StateDictView(const StateDict& dict, std::string prefix = "") : dict_(&dict), prefix_(std::move(prefix)) {}

  /// The part below `name` (without its dot): sub("mlp").sub("w1").
  StateDictView sub(std::string_view name) const { return StateDictView(*dict_, prefix_ + std::string(name) + "."); }
  bool contains(std::string_view name) const { return dict_->contains(prefix_ + std::string(name)); }
  /// See StateDict::load().
  std::vector<float> load(std::string_view name, const Shape& expected) const { return dict_->load(prefix_ + std::string(name), expected); }
  std::string full_name(std::string_view name) const { return prefix_ + std::string(name); }

 private:
  const StateDict* dict_;
  std::string prefix_;
};

}  // namespace meshseek
