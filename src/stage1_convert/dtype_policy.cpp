#include "stage1_convert/dtype_policy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "config/fields.hpp"
#include "config/names.hpp"
#include "config/ranges.hpp"
#include "config/serialise.hpp"
#include "modules/model/model.hpp"

namespace meshseek {
namespace {

template <class T>
struct ElementOf {
  using Type = T;
};
template <class T>
struct ElementOf<std::optional<T>> {
  using Type = T;
};

template <class T>
struct IsConfigList : std::false_type {};
template <class T>
struct IsConfigList<std::vector<T>> : std::bool_constant<ModuleConfig<T>> {};

void check_dtype(const Tree& value, const std::string& where) {
  const std::string& name = value.as_string(where);
  for (const char* known : {"bfloat8_b", "bfloat4_b", "bfloat16", "float32"}) {
    if (name == known) return;
  }
  throw ConfigError(
      fmt::format("[{}] \"{}\" is no dtype for projections; expected bfloat8_b, bfloat4_b, bfloat16 or float32", where, name));
}

/// Operators whose weights keep bfloat16 whatever the policy says: choosing experts and joining the halves of MTP are sensitive.
constexpr std::string_view kAlwaysPrecise[] = {"gate.linear", "eh_proj"};

/// Only projections follow a policy. \throws ConfigError for an operator on which it would have no effect
template <class Op>
void check_projection(const std::string& where) {
  const auto ends = [&](std::string_view name) { return where.ends_with(name); };
  const bool is_precise = std::any_of(std::begin(kAlwaysPrecise), std::end(kAlwaysPrecise), ends);
  if (std::is_same_v<Op, LinearConfig> && !is_precise) return;
  throw ConfigError(
      fmt::format("[{}] a dtype has no effect here: norms, embedding, router and eh_proj keep bfloat16 (float32 with --dtype float32); "
                  "leave it out of the policy",
                  where));
}

/// Checks a policy tree against the fields of a config struct.
template <class Config>
void check_policy(const Tree& policy, const std::string& where);

template <class Member>
void check_member(const Tree& policy, const std::string& where) {
  using Element = typename ElementOf<Member>::Type;
  if (policy.is_string()) {
    check_dtype(policy, where);
    if constexpr (OperatorConfig<Element>) check_projection<Element>(where);
    return;
  }
  if constexpr (ModuleConfig<Element>) {
    check_policy<Element>(policy, where);
  } else if constexpr (IsConfigList<Element>::value) {
    for (const auto& [name, entry] : policy.as_object(where)) check_member<typename Element::value_type>(entry, where + "." + name);
  } else {
    throw ConfigError(fmt::format("[{}] expected a dtype name for this operator, got {}", where, policy.type_name()));
  }
}

template <class Config>
void check_policy(const Tree& policy, const std::string& where) {
  Config config;
  for (const auto& [name, entry] : policy.as_object(where)) {
    bool known = false;
    std::vector<std::string_view> names;
    for_each_declared_field(config, [&](std::string_view field_name, const auto& member) {
      names.push_back(field_name);
      if (field_name != name) return;
      known = true;
      check_member<std::remove_cvref_t<decltype(member)>>(entry, where + "." + name);
    });
    if (!known)
      throw ConfigError(fmt::format("[{}] unknown name {} in the dtype policy{}", where, in_quotes(name), known_names_hint(name, names)));
  }
}

/// Expands one list of layers. Layers that no pattern names get an empty entry: they keep the standard dtype.
void expand_list(Tree& policy, const std::string& list, std::int64_t count) {
  Tree* entries = policy.find(list);
  if (entries == nullptr || entries->is_string()) return;
  const std::string where = "model." + list;
  std::vector<bool> named(static_cast<std::size_t>(count));
  for (const auto& [pattern, entry] : entries->as_object(where)) {
    const RangePattern range = parse_range(pattern, where);
    for (std::int64_t layer_idx = range.first; layer_idx <= std::min(range.last, count - 1); ++layer_idx)
      named[static_cast<std::size_t>(layer_idx)] = true;
  }
  for (std::int64_t layer_idx = 0; layer_idx < count; ++layer_idx) {
    if (!named[static_cast<std::size_t>(layer_idx)]) entries->set(std::to_string(layer_idx), Tree(Tree::Object{}));
  }
  *entries = expand_ranges(*entries, count, where);
}

}  // namespace

Tree expand_dtype_policy(const Tree& model_policy, const HfConfig& hf) {
  if (model_policy.is_string()) {
    check_dtype(model_policy, "model");
    return model_policy;
  }
  Tree policy = model_policy;
  expand_list(policy, "layers", hf.num_hidden_layers);
  expand_list(policy, "mtp", hf.num_nextn_predict_layers);
  check_policy<Model::Config>(policy, "model");
  return policy;
}

Tree read_dtype_policy(const Tree& document, const HfConfig& hf) {
  if (document.is_null()) return {};
  static constexpr std::array<std::string_view, 2> kKeys = {"format_version", "model"};
  serialise::check_keys(document, "dtype policy", {}, false, kKeys);
  const Tree* version = document.find("format_version");
  if (version == nullptr || version->as_integer("dtype policy format_version") != 1) {
    throw ConfigError("[dtype policy] expected \"format_version\": 1");
  }
  const Tree* model = document.find("model");
  if (model == nullptr) throw ConfigError("[dtype policy] expected a \"model\" with dtypes below it");
  return expand_dtype_policy(*model, hf);
}

}  // namespace meshseek
