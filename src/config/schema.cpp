#include "config/schema.hpp"

namespace meshseek::schema {

Tree object_schema(Tree properties, const std::vector<std::string>& required) {
  Tree schema = type_schema("object");
  schema.set("properties", std::move(properties));
  if (!required.empty()) {
    Tree::Array names;
    for (const std::string& name : required) names.emplace_back(name);
    schema.set("required", Tree(std::move(names)));
  }
  schema.set("additionalProperties", Tree(false));
  return schema;
}

Tree layers_schema(Tree element) {
  Tree patterns;
  patterns.set("^(0|[1-9][0-9]*)(-(0|[1-9][0-9]*))?$", std::move(element));
  Tree schema = type_schema("object");
  schema.set("patternProperties", std::move(patterns));
  schema.set("additionalProperties", Tree(false));
  return schema;
}

Tree any_of(std::vector<Tree> schemas) {
  Tree schema;
  schema.set("anyOf", Tree(Tree::Array(std::make_move_iterator(schemas.begin()), std::make_move_iterator(schemas.end()))));
  return schema;
}

Tree type_schema(std::string_view type) {
  Tree schema;
  schema.set("type", Tree(type));
  return schema;
}

Tree integer_schema(std::int64_t min, std::int64_t max) {
  Tree schema = type_schema("integer");
  schema.set("minimum", Tree(min));
  schema.set("maximum", Tree(max));
  return schema;
}

Tree enum_schema(const std::vector<std::string_view>& values) {
  Tree::Array names;
  for (const std::string_view value : values) names.emplace_back(value);
  Tree schema;
  schema.set("enum", Tree(std::move(names)));
  return schema;
}

Tree reference(std::string_view definition) {
  Tree schema;
  schema.set("$ref", Tree("#/$defs/" + std::string(definition)));
  return schema;
}

}  // namespace meshseek::schema
