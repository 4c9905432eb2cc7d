#include "config/schema.hpp"

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <variant>
#include <vector>

namespace meshseek {
namespace {

enum class Colour : std::uint8_t { red, blue };
constexpr auto enum_names(Colour) {
  return std::array<std::pair<Colour, std::string_view>, 2>{{{Colour::red, "red"}, {Colour::blue, "blue"}}};
}

struct Paint {
  static constexpr std::string_view kType = "Paint";
  Colour colour = Colour::red;
  static constexpr auto fields() { return std::tuple{field("colour", &Paint::colour, "which")}; }
};

struct Brush {
  static constexpr std::string_view kOp = "Brush";
  std::int32_t width = 1;
  std::optional<double> pressure = {};
  std::variant<Paint> paint = {};
  static constexpr auto fields() {
    return std::tuple{field("width", &Brush::width, "of the brush"), field("pressure", &Brush::pressure, ""),
                      field("paint", &Brush::paint, "")};
  }
};

struct Layer {
  Brush brush = {};
  std::optional<Brush> second = {};
  static constexpr auto fields() { return std::tuple{field("brush", &Layer::brush, ""), field("second", &Layer::second, "")}; }
};

struct Picture {
  std::vector<Layer> layers = {};
  Brush frame = {};
  static constexpr auto fields() { return std::tuple{field("layers", &Picture::layers, ""), field("frame", &Picture::frame, "")}; }
};

std::string text(const Tree* tree) { return tree == nullptr ? "absent" : to_json_line(*tree); }

TEST(Schema, AConfigNeedsItsSubmodulesAndAnOperatorItsOp) {
  schema::Definitions definitions;
  const Tree picture = schema::of<Picture>(schema::Kind::config, false, definitions);
  EXPECT_EQ(text(picture.find("required")), R"(["layers","frame"])");
  EXPECT_EQ(text(picture.find("additionalProperties")), "false");
  EXPECT_EQ(text(picture.find("properties")->find("frame")), R"({"$ref":"#/$defs/Brush"})");
  const Tree* brush = definitions.tree().find("Brush");
  ASSERT_NE(brush, nullptr);
  EXPECT_EQ(text(brush->find("required")), R"(["op"])");
  EXPECT_EQ(text(brush->find("properties")->find("op")), R"({"const":"Brush"})");
  EXPECT_EQ(text(brush->find("properties")->find("width")),
            R"({"type":"integer","minimum":-2147483648,"maximum":2147483647,"description":"of the brush"})");
  EXPECT_EQ(text(brush->find("properties")->find("pressure")->find("anyOf")), R"([{"type":"number"},{"type":"null"}])");
  EXPECT_NE(text(brush->find("properties")->find("paint")).find(R"("type":{"const":"Paint"})"), std::string::npos);
  EXPECT_NE(text(brush->find("properties")->find("paint")).find(R"({"enum":["red","blue"],"description":"which"})"), std::string::npos);
}

TEST(Schema, BelowAPatternModulesMayBeIncomplete) {
  schema::Definitions definitions;
  const Tree picture = schema::of<Picture>(schema::Kind::config, false, definitions);
  const Tree* patterns = picture.find("properties")->find("layers")->find("patternProperties");
  ASSERT_EQ(patterns->as_object("").size(), 1U);
  EXPECT_EQ(patterns->as_object("").front().second.find("required"), nullptr);
}

TEST(Schema, AnOverlayNeedsNothing) {
  schema::Definitions definitions;
  EXPECT_EQ(schema::of<Picture>(schema::Kind::overlay, true, definitions).find("required"), nullptr);
  EXPECT_EQ(definitions.tree().find("Brush")->find("required"), nullptr);
  EXPECT_EQ(text(definitions.tree().find("Brush")->find("properties")->find("op")), R"({"const":"Brush"})");
}

}  // namespace
}  // namespace meshseek
