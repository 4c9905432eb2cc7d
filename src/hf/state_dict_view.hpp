/// The tensors of a checkpoint below one name prefix: what a module's convert_weights() sees.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "hf/tensor_source.hpp"

namespace meshseek {

class StateDictView {
 public:
  explicit StateDictView(const TensorSource& source, std::string prefix = "") : source_(&source), prefix_(std::move(prefix)) {}

  /// The part below `name` (without its dot): sub("mlp").sub("w1").
  StateDictView sub(std::string_view name) const { return StateDictView(*source_, prefix_ + std::string(name) + "."); }
  bool contains(std::string_view name) const { return source_->contains(full_name(name)); }
  /// All rows of a tensor of the expected shape. \throws as TensorSource::check()
  WeightRows rows(std::string_view name, const Shape& expected) const {
    source_->check(full_name(name), expected);
    const std::int64_t num_rows = expected.size() < 2 ? 1 : volume(expected) / expected.back();
    return {source_, {{full_name(name), 0, num_rows}}};
  }
  std::string full_name(std::string_view name) const { return prefix_ + std::string(name); }

 private:
  const TensorSource* source_;
  std::string prefix_;
};

}  // namespace meshseek
