/// Dotted paths that cost nothing until a message needs them.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "config/names.hpp"

namespace meshseek {

/// One step of a path: a name or the index of a list element below `parent`. Lives on the stack of the walk; the names must outlive it.
class ConfigPath {
 public:
  explicit ConfigPath(std::string_view root) : name_(root) {}
  ConfigPath(const ConfigPath& parent, std::string_view name) : parent_(&parent), name_(name) {}
  ConfigPath(const ConfigPath& parent, std::size_t element_idx) : parent_(&parent), element_idx_(element_idx), is_element_(true) {}

  /// "model.layers.3.mlp"
  std::string to_string() const {
    const std::string own = is_element_ ? std::to_string(element_idx_) : std::string(name_);
    return parent_ == nullptr ? own : join_path(parent_->to_string(), own);
  }

 private:
  const ConfigPath* parent_ = nullptr;
  std::string_view name_ = {};
  std::size_t element_idx_ = 0;
  bool is_element_ = false;
};

}  // namespace meshseek
