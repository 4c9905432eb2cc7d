// Writes what follows from the fields() lists: docs/op_configs.md and schemas/*.schema.json.
//
//   generate_reference FOLDER     writes FOLDER/docs/op_configs.md and FOLDER/schemas/
//
// `make docs` runs it in the source folder; a test compares its output with what is checked in.
#include <fmt/format.h>

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "config/schema.hpp"
#include "modules/model/model.hpp"
#include "ops/all_configs.hpp"

using namespace meshseek;

namespace {

// ---------------------------------------------------------------- docs/op_configs.md

/// Collects one section of text for each struct that is met on the way.
class Reference {
 public:
  template <class Op>
  void add_operator() {
    operators_ += fmt::format("## {}\n\n{}\n", Op::kOp, table<Op>());
  }

  std::string text() const {
    return "# Operator configs\n\nGenerated from the `fields()` lists by `make docs`; a test compares. The meaning is that on the CPU "
           "backend. A field that is "
           "left out has its default;\na field that would have no effect is refused when the run config is made. *dynamic*: unset while a "
           "rule makes the value from "
           "run-time sizes.\n\n" +
           operators_ + "# Shared parts\n\n" + shared_;
  }

 private:
  template <class T>
  std::string table() {
    if (std::tuple_size_v<decltype(T::fields())> == 0) return "No fields.\n";
    std::string rows = "| field | type | default | meaning |\n|---|---|---|---|\n";
    const T defaults = {};
    for_each_declared_field_info(defaults, [&](const auto& info, const auto& member) {
      rows += fmt::format("| `{}` | {} | {} | {}{} |\n", info.name, type_of(member), default_of(member),
                          is_dynamic<T>(info.name) ? "*dynamic*; " : "", info.help);
    });
    return rows;
  }

  template <class T>
  static bool is_dynamic(std::string_view name) {
    if constexpr (requires { T::dynamic_fields(); }) {
      for (const DynamicField& field : T::dynamic_fields()) {
        if (field.name == name) return true;
      }
    }
    return false;
  }

  template <class T>
  std::string shared(std::string_view name) {
    if (seen_.insert(std::string(name)).second) {
      const std::string section = fmt::format("## {}\n\n{}\n", name, table<T>());
      shared_ += section;
    }
    std::string anchor(name);
    for (char& letter : anchor) letter = static_cast<char>(std::tolower(letter));
    return fmt::format("[{}](#{})", name, anchor);
  }

  template <class... T>
  std::string variants(const std::variant<T...>&) {
    std::string names;
    ((names += fmt::format("{}{}", names.empty() ? "" : " or ", shared<T>(T::kType))), ...);
    return names;
  }

  template <class T>
  std::string type_of(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      return "boolean";
    } else if constexpr (NamedEnum<T>) {
      std::string names;
      for (const auto& [known, name] : enum_names(T{})) names += fmt::format("{}`{}`", names.empty() ? "" : ", ", name);
      return names;
    } else if constexpr (std::is_integral_v<T>) {
      return "integer";
    } else if constexpr (std::is_floating_point_v<T>) {
      return "number";
    } else if constexpr (IsOptional<T>::value) {
      return type_of(typename T::value_type{});
    } else if constexpr (serialise::Kind<T>::is_variant) {
      return variants(value);
    } else if constexpr (HasFields<T>) {
      return shared<T>(name_of<T>());
    } else {
      return "array of " + type_of(typename T::value_type{});
    }
  }

  /// Names of the structs that operators share.
  template <class T>
  static std::string_view name_of() {
    if constexpr (std::is_same_v<T, MemoryConfig>) return "MemoryConfig";
    if constexpr (std::is_same_v<T, ShardSpec>) return "ShardSpec";
    if constexpr (std::is_same_v<T, CoreRange>) return "CoreRange";
    if constexpr (std::is_same_v<T, CoreCoord>) return "CoreCoord";
    if constexpr (std::is_same_v<T, ComputeKernelConfig>) return "ComputeKernelConfig";
    if constexpr (std::is_same_v<T, MatmulProgramRule>) return "MatmulProgramRule";
    static_assert(std::is_same_v<T, MemoryConfig> || std::is_same_v<T, ShardSpec> || std::is_same_v<T, CoreRange> ||
                      std::is_same_v<T, CoreCoord> || std::is_same_v<T, ComputeKernelConfig> || std::is_same_v<T, MatmulProgramRule> ||
                      std::is_same_v<T, WeightSlot>,
                  "give this struct a name in the reference");
    return "WeightSlot";
  }

  template <class T>
  static std::string default_of(const T& value) {
    if constexpr (IsOptional<T>::value) {
      return "unset";
    } else if constexpr (HasFields<T>) {
      return "its own";
    } else {
      return fmt::format("`{}`", to_json_line(to_tree(value)));
    }
  }

  std::string operators_;
  std::string shared_;
  std::set<std::string> seen_;
};

template <class... Ops>
std::string reference_text(std::tuple<Ops...>*) {
  Reference reference;
  (reference.add_operator<Ops>(), ...);
  return reference.text();
}

// ---------------------------------------------------------------- schemas

Tree string_pattern(std::string_view pattern) {
  Tree schema = schema::type_schema("string");
  schema.set("pattern", Tree(pattern));
  return schema;
}

Tree constant(std::int64_t value) {
  Tree schema;
  schema.set("const", Tree(value));
  return schema;
}

Tree mesh_schema() { return string_pattern("^[1-9][0-9]*x[1-9][0-9]*$"); }

Tree projection_dtype() { return schema::enum_schema({"bfloat8_b", "bfloat4_b", "bfloat16", "float32"}); }

Tree properties_of(std::vector<std::pair<std::string, Tree>> members) {
  Tree properties(Tree::Object{});
  for (auto& [name, member] : members) properties.set(name, std::move(member));
  return properties;
}

/// A whole schema document.
std::string document(std::string_view title, Tree properties, const std::vector<std::string>& required, const Tree& definitions) {
  Tree root;
  root.set("$schema", Tree("https://json-schema.org/draft/2020-12/schema"));
  root.set("title", Tree(title));
  const Tree object = schema::object_schema(std::move(properties), required);
  for (const auto& [key, value] : object.as_object("schema")) root.set(key, value);
  if (!definitions.as_object("definitions").empty()) root.set("$defs", definitions);
  return to_json(root);
}

std::string model_config_schema() {
  schema::Definitions definitions;
  Tree model = schema::of<Model::Config>(schema::Kind::config, false, definitions);
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  Tree device = schema::object_schema(properties_of({{"num_cores", schema::integer_schema(1, most)},
                                                     {"l2_bytes", schema::integer_schema(0, most)},
                                                     {"isa", schema::type_schema("string")}}),
                                      {"num_cores"});
  return document("meshseek model config",
                  properties_of({{"format_version", constant(1)},
                                 {"mode", schema::enum_schema({"prefill", "decode"})},
                                 {"mesh", mesh_schema()},
                                 {"deterministic", schema::type_schema("boolean")},
                                 {"device", std::move(device)},
                                 {"model", std::move(model)}}),
                  {"format_version", "mode", "mesh", "model"}, definitions.tree());
}

std::string overlay_schema() {
  schema::Definitions definitions;
  Tree model = schema::of<Model::Config>(schema::Kind::overlay, true, definitions);
  return document("meshseek overlay", properties_of({{"mode", schema::enum_schema({"prefill", "decode"})}, {"model", std::move(model)}}),
                  {}, definitions.tree());
}

/// The tree of a module's children; `leaf` gives the schema of an operator, or nothing.
template <class T, class Leaf>
std::optional<Tree> children_schema(const Leaf& leaf, bool with_string, const std::string& path = "model") {
  if constexpr (IsOptional<T>::value) {
    return children_schema<typename T::value_type>(leaf, with_string, path);
  } else if constexpr (OperatorConfig<T>) {
    return leaf.template operator()<T>(path);
  } else if constexpr (HasFields<T> && serialise::HoldsOperator<T>::value) {
    Tree properties(Tree::Object{});
    const T defaults = {};
    for_each_declared_field(defaults, [&](std::string_view name, const auto& member) {
      if (auto child = children_schema<std::remove_cvref_t<decltype(member)>>(leaf, with_string, path + "." + std::string(name)))
        properties.set(std::string(name), *std::move(child));
    });
    Tree object = schema::object_schema(std::move(properties), {});
    return with_string ? schema::any_of({projection_dtype(), std::move(object)}) : object;
  } else if constexpr (serialise::Kind<T>::is_vector && serialise::HoldsOperator<T>::value) {
    Tree layers = schema::layers_schema(*children_schema<typename T::value_type>(leaf, with_string, path));
    return with_string ? schema::any_of({projection_dtype(), std::move(layers)}) : layers;
  } else {
    return std::nullopt;
  }
}

std::string weight_config_schema() {
  const Tree shape = [] {
    Tree array = schema::type_schema("array");
    array.set("items", schema::integer_schema(0, std::numeric_limits<std::int64_t>::max()));
    return array;
  }();
  Tree placement = schema::type_schema("array");
  placement.set("items", schema::type_schema("string"));
  const Tree entry = schema::object_schema(properties_of({{"path", schema::type_schema("string")},
                                                          {"shape", shape},
                                                          {"dtype", schema::enum_schema({"bfloat8_b", "bfloat4_b", "bfloat16", "float32"})},
                                                          {"layout", schema::enum_schema({"TILE", "ROW_MAJOR"})},
                                                          {"mesh", mesh_schema()},
                                                          {"placement", placement},
                                                          {"shard_shape", shape},
                                                          {"bytes", schema::integer_schema(0, std::numeric_limits<std::int64_t>::max())}}),
                                           {"path"});
  schema::Definitions definitions;
  definitions.add("weight", schema::any_of({entry, schema::type_schema("string")}));
  const auto leaf = []<class Op>(const std::string&) -> std::optional<Tree> {
    Tree properties(Tree::Object{});
    const Op defaults = {};
    for_each_declared_field(defaults, [&](std::string_view name, const auto& member) {
      using Member = std::remove_cvref_t<decltype(member)>;
      if constexpr (std::is_same_v<Member, WeightSlot> || std::is_same_v<Member, std::optional<WeightSlot>>)
        properties.set(std::string(name), schema::reference("weight"));
    });
    if (properties.as_object("").empty()) return std::nullopt;
    return schema::object_schema(std::move(properties), {});
  };
  return document("meshseek weight config",
                  properties_of({{"format_version", constant(1)},
                                 {"converter_version", schema::integer_schema(1, std::numeric_limits<std::int64_t>::max())},
                                 {"source_digest", schema::type_schema("string")},
                                 {"mesh", mesh_schema()},
                                 {"deterministic", schema::type_schema("boolean")},
                                 {"dtype", projection_dtype()},
                                 {"dtype_policy", schema::type_schema("object")},
                                 {"model", *children_schema<Model::Config>(leaf, false)}}),
                  {"format_version", "mesh", "dtype", "model"}, definitions.tree());
}

std::string dtype_policy_schema() {
  const auto leaf = []<class Op>(const std::string& path) -> std::optional<Tree> {
    // As stage 1 decides: these keep bfloat16.
    if (!std::is_same_v<Op, LinearConfig> || path.ends_with("gate.linear") || path.ends_with("eh_proj")) return std::nullopt;
    return projection_dtype();
  };
  return document("meshseek dtype policy",
                  properties_of({{"format_version", constant(1)}, {"model", *children_schema<Model::Config>(leaf, true)}}),
                  {"format_version", "model"}, Tree(Tree::Object{}));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: generate_reference FOLDER\n");
    return 2;
  }
  const Path folder = argv[1];
  std::filesystem::create_directories(folder / "docs");
  std::filesystem::create_directories(folder / "schemas");
  write_file_atomically(folder / "docs/op_configs.md", reference_text(static_cast<AllOperatorConfigs*>(nullptr)));
  write_file_atomically(folder / "schemas/model_config.schema.json", model_config_schema());
  write_file_atomically(folder / "schemas/weight_config.schema.json", weight_config_schema());
  write_file_atomically(folder / "schemas/overlay.schema.json", overlay_schema());
  write_file_atomically(folder / "schemas/dtype_policy.schema.json", dtype_policy_schema());
  return 0;
}
