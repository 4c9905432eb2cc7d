#include "cli/explain.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "config/names.hpp"
#include "config/ranges.hpp"
#include "config/serialise.hpp"
#include "config/unset_fields.hpp"
#include "modules/model/model.hpp"
#include "ops/all_configs.hpp"

namespace meshseek::cli {
namespace {

/// The rule that makes a dynamic field of an operator type; empty when the field is not dynamic.
template <class Op>
void find_rule(std::string_view op, std::string_view field, std::string_view& rule) {
  if constexpr (requires { Op::dynamic_fields(); }) {
    for (const DynamicField& dynamic : Op::dynamic_fields()) {
      if (op == Op::kOp && dynamic.name == field) rule = dynamic.rule;
    }
  }
}

template <class... Ops>
std::string_view rule_of(std::tuple<Ops...>*, std::string_view op, std::string_view field) {
  std::string_view rule;
  (find_rule<Ops>(op, field, rule), ...);
  return rule;
}

/// What it means that nobody set a field which may be unset.
std::string unset_source(const Tree& op, std::string_view field) {
  const std::string_view name = rule_of(static_cast<AllOperatorConfigs*>(nullptr), op.find("op")->as_string("op"), field);
  const Tree* rule = name.empty() ? nullptr : op.find(name);
  return rule == nullptr || rule->is_null() ? "default" : fmt::format("dynamic rule ({})", name);
}

/// {"model": ...} with one entry per layer, and null for each unset field.
Tree complete_root(const Tree& document) {
  Tree root;
  root.set("model", expand_tree(*document.find("model"), {}, LayerPlaceholder::keep, "model"));
  const auto typed = from_tree<Model::Config>(*root.find("model"), "model");
  for_each_unset_field(typed, "model", [&](const std::string& path) {
    const std::size_t dot = path.rfind('.');
    find_path(root, path.substr(0, dot))->set(path.substr(dot + 1), Tree());
  });
  return root;
}

/// The value at the path, and the operator on the way to it.
struct Found {
  const Tree* node = nullptr;
  const Tree* op = nullptr;  ///< null pointer above operators
  std::string op_path = {};
};

[[noreturn]] void throw_unknown(const Tree& parent, const std::string& path, const std::string& walked, std::string_view name) {
  std::vector<std::string_view> known = keys_of(parent);
  // An absent submodule is null here; an unset field exists.
  if (!is_operator(parent)) std::erase_if(known, [&](std::string_view key) { return parent.find(key)->is_null(); });
  throw Error(fmt::format("[explain {}] {} has no {}{}", path, walked.empty() ? "the config" : walked, in_quotes(name),
                          known_names_hint(name, known)));
}

Found find(const Tree& root, const std::string& path) {
  Found found = {.node = &root};
  std::string walked;
  for (std::string_view rest = path; !rest.empty() || walked.empty();) {
    const std::string_view name = rest.substr(0, rest.find('.'));
    const Tree* next = found.node->find(name);
    if (next == nullptr || (next->is_null() && found.op == nullptr)) {
      throw_unknown(*found.node, path, walked, name);
    }
    walked = join_path(walked, name);
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    found.node = next;
    if (found.op == nullptr && is_operator(*next)) {
      found.op = next;
      found.op_path = walked;
    }
  }
  return found;
}

void append_fields(const ExplainedConfig& config, const Found& found, const Tree& node, const std::string& path, Tree::Array& rows) {
  if (node.is_object()) {
    for (const auto& [key, value] : node.as_object(path)) {
      if (key != "op" || &node != found.op) append_fields(config, found, value, join_path(path, key), rows);
    }
    return;
  }
  // A plain field of a module belongs to no operator.
  const std::string field = path.substr(found.op == nullptr ? path.rfind('.') + 1 : found.op_path.size() + 1);
  const auto source = config.provenance.source_of(path);
  Tree row;
  row.set("field", Tree(field));
  row.set("value", node);
  row.set("source", Tree(source ? *source : node.is_null() ? unset_source(*found.op, field) : "default"));
  rows.push_back(std::move(row));
}

/// The entries of the weight config that are merged into the operator.
Tree::Array weight_rows(const Tree& weight_config, const std::string& op_path) {
  Tree root;
  root.set("model", expand_tree(weight_config, {}, LayerPlaceholder::substitute, "model"));
  Tree::Array rows;
  const Tree* entries = find_path(root, op_path);
  if (entries == nullptr || !entries->is_object()) return rows;
  for (const auto& [argument, entry] : entries->as_object(op_path)) {
    Tree row;
    row.set("argument", Tree(argument));
    if (entry.is_string()) row.set("path", entry);
    for (const char* key : {"path", "shape", "dtype"}) {
      if (const Tree* value = entry.find(key)) row.set(key, *value);
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

/// Operators as {"op"}, everything that is neither operator nor object left out.
Tree skeleton(const Tree& node) {
  Tree::Object members;
  for (const auto& [key, value] : node.as_object("skeleton")) {
    if (is_operator(node) && key == "op") members.emplace_back(key, value);
    if (!is_operator(node) && value.is_object()) members.emplace_back(key, skeleton(value));
  }
  return Tree(std::move(members));
}

void append_operators(const Tree& node, const std::string& path, Tree::Array& rows) {
  if (!is_operator(node)) {
    for (const auto& [key, value] : node.as_object(path)) append_operators(value, join_path(path, key), rows);
    return;
  }
  Tree row;
  row.set("path", Tree(path));
  row.set("op", *node.find("op"));
  rows.push_back(std::move(row));
}

std::string shown(const Tree& value) {
  if (value.is_null()) return "unset";
  return value.is_string() ? value.as_string("value") : to_json_line(value);
}

/// Rows as lines of aligned columns.
std::string table(const Tree::Array& rows) {
  std::vector<std::size_t> widths;
  for (const Tree& row : rows) {
    const Tree::Object& cells = row.as_object("row");
    widths.resize(std::max(widths.size(), cells.size()));
    for (std::size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], shown(cells[i].second).size());
  }
  std::string text;
  for (const Tree& row : rows) {
    const Tree::Object& cells = row.as_object("row");
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i)
      line += fmt::format("  {:<{}}", shown(cells[i].second), i + 1 < cells.size() ? widths[i] : 0);
    text += line + "\n";
  }
  return text;
}

}  // namespace

Tree explain(const ExplainedConfig& config, const std::string& path) {
  const Tree root = complete_root(config.document);
  const Found found = find(root, path);
  Tree document;
  document.set("path", Tree(path));
  document.set("mode", Tree(config.mode));
  Tree::Array rows;
  if (found.op == nullptr && found.node->is_object()) {
    append_operators(fold_ranges(skeleton(*found.node)), path, rows);
    document.set("operators", Tree(std::move(rows)));
    return document;
  }
  append_fields(config, found, *found.node, path, rows);
  document.set("op", found.op == nullptr ? Tree("a module's field") : *found.op->find("op"));
  document.set("fields", Tree(std::move(rows)));
  if (found.node == found.op && !config.weight_config.is_null())
    document.set("weights", Tree(weight_rows(config.weight_config, found.op_path)));
  return document;
}

std::string explanation_text(const Tree& document) {
  const auto text = [&](const char* key) { return document.find(key)->as_string(key); };
  if (const Tree* operators = document.find("operators")) {
    return fmt::format("{} ({}): operators below it\n{}", text("path"), text("mode"), table(operators->as_array("operators")));
  }
  std::string lines =
      fmt::format("{} ({}): {}\n{}", text("path"), text("mode"), text("op"), table(document.find("fields")->as_array("fields")));
  const Tree* weights = document.find("weights");
  if (weights != nullptr && !weights->as_array("weights").empty()) lines += "weights:\n" + table(weights->as_array("weights"));
  return lines;
}

}  // namespace meshseek::cli
