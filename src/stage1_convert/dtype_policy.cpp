#include "stage1_convert/dtype_policy.hpp"

#include <fmt/format.h>

#include <string>

#include "base/error.hpp"
#include "config/fields.hpp"
#include "config/ranges.hpp"
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
  throw ConfigError(fmt::format("[{}] \"{}\" is no dtype for projections; expected bfloat8_b, bfloat4_b, bfloat16 or float32", where, name));
}

/// Checks a policy tree against the fields of a config struct.
template <class Config>
void check_policy(const Tree& policy, const std::string& where);

template <class Member>
void check_member(const Tree& policy, const std::string& where) {
  using Element = typename ElementOf<Member>::Type;
  if (policy.is_string()) return check_dtype(policy, where);
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
    std::string names;
    for_each_declared_field(config, [&](std::string_view field_name, const auto& member) {
      names += fmt::format("{}{}", names.empty() ? "" : ", ", field_name);
      if (field_name != name) return;
      known = true;
      check_member<std::remove_cvref_t<decltype(member)>>(entry, where + "." + name);
    });
    if (!known) throw ConfigError(fmt::format("[{}] unknown name \"{}\" in the dtype policy; expected one of: {}", where, name, names));
  }
}

/// Expands one list of layers. An empty entry for all of them is merged in: layers that no pattern names keep the standard dtype.
void expand_list(Tree& policy, const std::string& list, std::int64_t count) {
  Tree* entries = policy.find(list);
  if (entries == nullptr || entries->is_string()) return;
  const std::string all = to_string(RangePattern{0, count - 1});
  if (count > 0 && entries->is_object() && entries->find(all) == nullptr) entries->set(all, Tree(Tree::Object{}));
  *entries = expand_ranges(*entries, count, "model." + list);
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

}  // namespace meshseek
