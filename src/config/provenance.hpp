/// Who set each field of a config: its default, a range pattern of a file, an overlay, an assignment.
///
/// A Provenance is a tree of the config's own shape that holds a source's name where the config holds a value. Every change made to the config is
/// made to it too, by the same functions (expand_tree, apply_overlay, apply_set), so that it needs no rules of its own and cannot disagree with them.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "config/tree.hpp"

namespace meshseek {

class Provenance {
 public:
  Provenance() = default;

  /// Every field of an expanded tree, e.g. {"model": {...}}, has the same source.
  static Provenance of(const Tree& expanded, const std::string& source);
  /// The fields of a config file, before expansion: `pattern "0-31" of FILE`, or `FILE` outside of lists. \throws ConfigError as expand_tree
  static Provenance of_file(const Tree& root, const std::string& file);

  /// Follows apply_overlay(): what the overlay sets comes from `pattern "0-5" of NAME`, or NAME outside of lists.
  void overlay(const Tree& overlay, const std::string& name);
  /// Follows apply_set(): what the assignment sets comes from `source`.
  void set(std::string_view assignment, const std::string& source);
  /// Every field whose value differs between two expanded trees comes from source(path of the field).
  void changes(const Tree& before, const Tree& after, const std::function<std::string(const std::string& path)>& source);

  /// The source of the field at a dotted path, e.g. "model.layers.10.mlp.w1.dtype"; empty when nobody set it.
  std::optional<std::string> source_of(std::string_view path) const;

 private:
  explicit Provenance(Tree sources) : sources_(std::move(sources)) {}

  Tree sources_;
};

/// The value at a dotted path; null pointer when a step is missing. An empty path is the tree itself.
const Tree* find_path(const Tree& root, std::string_view path);
Tree* find_path(Tree& root, std::string_view path);

}  // namespace meshseek
