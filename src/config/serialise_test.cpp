#include "config/serialise.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "base/error.hpp"

namespace meshseek {
namespace sample {

enum class Topology : std::uint8_t { Ring, Linear };
constexpr auto enum_names(Topology) {
  return std::array<std::pair<Topology, std::string_view>, 2>{{{Topology::Ring, "Ring"}, {Topology::Linear, "Linear"}}};
}

struct Grid {
  static constexpr std::string_view kType = "grid";
  std::int32_t rows = 1;
  std::uint8_t cols = 1;
  static constexpr auto fields() { return std::tuple{field("rows", &Grid::rows, "rows"), field("cols", &Grid::cols, "columns")}; }
  friend bool operator==(const Grid&, const Grid&) = default;
};

struct Interleaved {
  static constexpr std::string_view kType = "interleaved";
  static constexpr auto fields() { return std::tuple{}; }
  friend bool operator==(const Interleaved&, const Interleaved&) = default;
};

struct LinearConfig {
  static constexpr std::string_view kOp = "Linear";
  std::optional<std::string> dtype = "bfloat16";
  std::optional<Grid> program = {};
  bool transpose_b = true;
  float scale = 1.0f;
  double epsilon = 1e-6;
  Topology topology = Topology::Ring;
  std::vector<std::int64_t> shape = {};
  std::vector<Grid> ranges = {};
  std::array<int, 2> cores = {};
  std::variant<Interleaved, Grid> memory = {};
  std::int64_t big = 0;
  static constexpr auto fields() {
    return std::tuple{field("dtype", &LinearConfig::dtype, ""),
                      field("program", &LinearConfig::program, ""),
                      field("transpose_b", &LinearConfig::transpose_b, ""),
                      field("scale", &LinearConfig::scale, ""),
                      field("epsilon", &LinearConfig::epsilon, ""),
                      field("topology", &LinearConfig::topology, ""),
                      field("shape", &LinearConfig::shape, ""),
                      field("ranges", &LinearConfig::ranges, ""),
                      field("cores", &LinearConfig::cores, ""),
                      field("memory", &LinearConfig::memory, ""),
                      field("big", &LinearConfig::big, "")};
  }
  friend bool operator==(const LinearConfig&, const LinearConfig&) = default;
};

struct Dense {
  static constexpr std::string_view kType = "dense";
  LinearConfig w1 = {};
  static constexpr auto fields() { return std::tuple{field("w1", &Dense::w1, "gate")}; }
  friend bool operator==(const Dense&, const Dense&) = default;
};

struct Moe {
  static constexpr std::string_view kType = "moe";
  std::vector<LinearConfig> experts = {};
  std::optional<LinearConfig> shared = {};
  static constexpr auto fields() { return std::tuple{field("experts", &Moe::experts, ""), field("shared", &Moe::shared, "")}; }
  friend bool operator==(const Moe&, const Moe&) = default;
};

struct Note {
  std::string text = {};
  static constexpr auto fields() { return std::tuple{field("text", &Note::text, "")}; }
  friend bool operator==(const Note&, const Note&) = default;
};

struct Model {
  std::vector<std::variant<Dense, Moe>> blocks = {};
  std::vector<Note> layers = {};
  std::vector<Note> notes = {};
  static constexpr auto fields() {
    return std::tuple{field("blocks", &Model::blocks, ""), field("layers", &Model::layers, ""), field("notes", &Model::notes, "")};
  }
  friend bool operator==(const Model&, const Model&) = default;
};

static_assert(OperatorConfig<LinearConfig> && !OperatorConfig<Dense> && ModuleConfig<Dense> && !HasFields<int>);
static_assert(serialise::HoldsOperator<Model>::value && !serialise::HoldsOperator<Grid>::value);

}  // namespace sample

namespace {
using namespace sample;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StrEq;
using ::testing::ThrowsMessage;

template <class T>
std::string error_of(const std::string& json, std::string_view where = "model.w1") {
  try {
    from_tree<T>(parse_json(json, "t"), where);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Fields, VisitingSkipsWhatIsUnset) {
  Grid grid{.rows = 2, .cols = 3};
  std::string seen;
  for_each_field(grid, [&](std::string_view name, auto& member) { seen += std::string(name) + "=" + std::to_string(++member) + " "; });
  EXPECT_EQ(seen, "rows=3 cols=4 ");
  LinearConfig linear;
  linear.dtype.reset();
  std::vector<std::string> set, declared;
  for_each_field(std::as_const(linear), [&](std::string_view name, const auto&) { set.emplace_back(name); });
  for_each_declared_field(linear, [&](std::string_view name, auto&) { declared.emplace_back(name); });
  EXPECT_EQ(declared.size(), 11u);
  EXPECT_EQ(set.size(), 9u);
  EXPECT_EQ(set[0], "transpose_b");
}

TEST(Fields, EnumsHaveNames) {
  EXPECT_EQ(enum_name(Topology::Linear), "Linear");
  EXPECT_EQ(enum_value<Topology>("Ring"), Topology::Ring);
  EXPECT_EQ(enum_value<Topology>("ring"), std::nullopt);
  EXPECT_EQ(enum_name(static_cast<Topology>(9)), "");
}

TEST(Serialise, WritesAnOperatorInTheOrderOfItsFields) {
  LinearConfig config;
  config.scale = 0.1f;
  config.shape = {2, 3};
  EXPECT_EQ(to_json_line(to_tree(config)),
            R"({"op":"Linear","dtype":"bfloat16","transpose_b":true,"scale":0.1,"epsilon":1e-06,"topology":"Ring","shape":[2,3],)"
            R"("ranges":[],"cores":[0,0],"memory":{"type":"interleaved"},"big":0})");
}

TEST(Serialise, AnUnsetOptionalStaysUnsetEvenIfItsDefaultIsSet) {
  LinearConfig config;
  config.dtype.reset();
  EXPECT_EQ(from_tree<LinearConfig>(to_tree(config), "w1"), config);
  EXPECT_EQ(from_tree<LinearConfig>(parse_json(R"({"op": "Linear", "program": null})", "t"), "w1").program, std::nullopt);
}

TEST(Serialise, AbsentPlainFieldsKeepTheirDefaults) {
  const auto config = from_tree<LinearConfig>(parse_json(R"({"op": "Linear", "scale": 3})", "t"), "w1");
  EXPECT_EQ(config.scale, 3.0f);
  EXPECT_TRUE(config.transpose_b);
}

TEST(Serialise, FoldsEqualSubmodulesIntoRangePatterns) {
  Model model;
  model.blocks = {Dense{}, Dense{}, Dense{}, Moe{.experts = std::vector<LinearConfig>(4), .shared = {}}, Dense{}};
  model.layers = {{"a"}, {"a"}, {"b"}};
  model.notes = {{"a"}, {"a"}};
  const Tree tree = to_tree(model);
  std::vector<std::string> keys;
  for (const auto& member : tree.find("blocks")->as_object("")) keys.push_back(member.first);
  EXPECT_THAT(keys, ::testing::ElementsAre("0-2", "3", "4"));
  EXPECT_NE(tree.find("blocks")->find("3")->find("experts")->find("0-3"), nullptr);
  EXPECT_EQ(to_json_line(*tree.find("layers")), R"({"0-1":{"text":"a"},"2":{"text":"b"}})");
  EXPECT_EQ(to_json_line(*tree.find("notes")), R"([{"text":"a"},{"text":"a"}])");
  EXPECT_EQ(from_tree<Model>(tree, "model"), model);
}

LinearConfig random_linear(std::mt19937& random) {
  LinearConfig config;
  const auto coin = [&] { return random() % 2 == 0; };
  if (coin()) config.dtype.reset();
  if (coin()) config.program = Grid{static_cast<std::int32_t>(random()), static_cast<std::uint8_t>(random())};
  config.transpose_b = coin();
  config.scale = static_cast<float>(random()) * 1.7e-7f;
  config.epsilon = static_cast<double>(random()) * 1.3e-11;
  config.topology = coin() ? Topology::Ring : Topology::Linear;
  config.shape.assign(random() % 4, static_cast<std::int64_t>(random()));
  config.ranges.assign(random() % 3, Grid{.rows = 5, .cols = 200});
  if (coin()) config.memory = Grid{.rows = -1, .cols = 0};
  config.big = static_cast<std::int64_t>((std::uint64_t{random()} << 32) | random());
  return config;
}

TEST(Serialise, RandomModelsSurviveTheRoundTripByteForByte) {
  std::mt19937 random(11);
  for (int i = 0; i < 300; ++i) {
    Model model;
    for (unsigned n = random() % 6; n > 0; --n) {
      const unsigned repeat = 1 + random() % 3;
      std::variant<Dense, Moe> block = Dense{random_linear(random)};
      if (random() % 2)
        block = Moe{.experts = std::vector<LinearConfig>(random() % 5, random_linear(random)), .shared = random_linear(random)};
      model.blocks.insert(model.blocks.end(), repeat, block);
    }
    model.layers.assign(random() % 4, {"\u00e9\n"});
    const std::string text = to_json(to_tree(model));
    const Model read = from_tree<Model>(parse_json(text, "t"), "model");
    ASSERT_EQ(read, model) << text;
    ASSERT_EQ(to_json(to_tree(read)), text);
  }
}

TEST(Serialise, EveryFloatIsWrittenShortAndReadBackExactly) {
  std::mt19937 random(3);
  for (int i = 0; i < 20000; ++i) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (!std::isfinite(value)) continue;
    const std::string text = to_json_line(to_tree(value));
    ASSERT_EQ(from_tree<float>(parse_json(text, "t"), "t"), value) << text;
  }
  EXPECT_EQ(to_json_line(to_tree(0.3f)), "0.3");
}

TEST(Serialise, UnknownKeysNameTheNearestKnownOne) {
  EXPECT_THAT(error_of<LinearConfig>(R"({"op": "Linear", "out_dtpye": 1})", "model.layers.7.mlp.w1"),
              AllOf(HasSubstr(R"([model.layers.7.mlp.w1] unknown key "out_dtpye"; did you mean "dtype"? known: dtype, program, )")));
  EXPECT_THAT(error_of<Dense>(R"({"w1": {"op": "Linear"}, "op": "Dense"})"), HasSubstr("unknown key \"op\""));
  EXPECT_THAT(error_of<Dense>(R"({"w1": {"op": "Linear"}, "type": "dense"})"), HasSubstr("unknown key \"type\""));
}

TEST(Serialise, WrongTypesNameThePathTheExpectedAndTheGiven) {
  EXPECT_EQ(error_of<LinearConfig>(R"({"op": "Linear", "transpose_b": 1})"),
            "[model.w1.transpose_b] expected true or false, got an integer (1)");
  EXPECT_EQ(error_of<LinearConfig>(R"({"op": "Linear", "shape": [1, "2"]})"),
            "[model.w1.shape.1] expected an integer, got a string (\"2\")");
  EXPECT_EQ(error_of<LinearConfig>(R"({"op": "Linear", "scale": "x"})"), "[model.w1.scale] expected a number, got a string (\"x\")");
  EXPECT_EQ(error_of<LinearConfig>(R"({"op": "Linear", "program": 3})"), "[model.w1.program] expected an object, got an integer (3)");
  EXPECT_EQ(error_of<LinearConfig>(R"({"op": "Linear", "big": null})"), "[model.w1.big] expected an integer, got null");
  EXPECT_EQ(error_of<LinearConfig>(R"({"op": "Linear", "cores": [1]})"), "[model.w1.cores] expected an array of 2, got one of 1");
  EXPECT_EQ(error_of<LinearConfig>("[]"), "[model.w1] expected an object, got an array of 0");
}

TEST(Serialise, NullUnsetsAnOptionalAndIsAnErrorElsewhere) {
  const auto linear = from_tree<LinearConfig>(parse_json(R"({"op": "Linear", "dtype": null, "program": null})", "t"), "w1");
  EXPECT_EQ(linear.dtype, std::nullopt);
  EXPECT_EQ(linear.program, std::nullopt);
  EXPECT_EQ(from_tree<Moe>(parse_json(R"({"experts": {}, "shared": null})", "t"), "m").shared, std::nullopt);
  const std::pair<const char*, const char*> expected[] = {{"transpose_b", "true or false"},
                                                          {"scale", "a number"},
                                                          {"epsilon", "a number"},
                                                          {"topology", "one of Ring, Linear"},
                                                          {"shape", "an array"},
                                                          {"cores", "an array"},
                                                          {"memory", "an object"},
                                                          {"big", "an integer"}};
  for (const auto& [name, kind] : expected) {
    EXPECT_EQ(error_of<LinearConfig>(fmt::format(R"({{"op": "Linear", "{}": null}})", name)),
              fmt::format("[model.w1.{}] expected {}, got null", name, kind));
  }
  EXPECT_EQ(error_of<Dense>(R"({"w1": null})"), "[model.w1.w1] expected an object, got null");
  EXPECT_EQ(error_of<Moe>(R"({"experts": null})"), "[model.w1.experts] expected an object, got null");
  EXPECT_EQ(error_of<Moe>(R"({"experts": {"0": null}})"), "[model.w1.experts.0] expected an object, got null");
}

TEST(Serialise, AnAbsentOptionalSubmoduleIsUnset) {
  EXPECT_EQ(from_tree<Moe>(parse_json(R"({"experts": {}})", "t"), "m").shared, std::nullopt);
}

TEST(Serialise, IntegersAreRangeChecked) {
  EXPECT_EQ(error_of<Grid>(R"({"cols": 256})"), "[model.w1.cols] 256 is out of range; expected 0 to 255");
  EXPECT_EQ(error_of<Grid>(R"({"cols": -1})"), "[model.w1.cols] -1 is out of range; expected 0 to 255");
  EXPECT_THAT(error_of<Grid>(R"({"rows": 2147483648})"), HasSubstr("expected -2147483648 to 2147483647"));
  EXPECT_THAT(error_of<Grid>(R"({"rows": 1.0})"), HasSubstr("expected an integer"));
  EXPECT_THAT(error_of<std::uint64_t>("-1"), HasSubstr("expected 0 to 9223372036854775807"));
  EXPECT_THAT(error_of<float>("1e39"), HasSubstr("out of the range of a float32"));
  EXPECT_THROW(to_tree(std::numeric_limits<std::uint64_t>::max()), ConfigError);
}

TEST(Serialise, UnknownEnumValuesAndTypesListTheKnownOnes) {
  EXPECT_EQ(error_of<LinearConfig>(R"({"op": "Linear", "topology": "Rign"})"),
            "[model.w1.topology] unknown value \"Rign\"; did you mean \"Ring\"? known: Ring, Linear");
  EXPECT_EQ(error_of<LinearConfig>(R"({"op": "Linear", "topology": 1})"),
            "[model.w1.topology] expected one of Ring, Linear, got an integer (1)");
  EXPECT_THAT(error_of<LinearConfig>(R"({"op": "Linear", "memory": {"type": "gird"}})"),
              HasSubstr("[model.w1.memory.type] unknown type \"gird\"; did you mean \"grid\"? known: interleaved, grid"));
  EXPECT_THAT(error_of<LinearConfig>(R"({"op": "Linear", "memory": {}})"),
              HasSubstr("\"type\" is missing; expected one of interleaved, grid"));
  EXPECT_THROW(to_tree(static_cast<Topology>(9)), ConfigError);
}

TEST(Serialise, ReadingChecksTheOperator) {
  EXPECT_EQ(error_of<LinearConfig>("{}"), "[model.w1] \"op\" is missing; expected \"op\": \"Linear\"");
  EXPECT_EQ(error_of<LinearConfig>(R"({"op": "Mul"})"), "[model.w1.op] expected \"Linear\", got a string (\"Mul\")");
}

TEST(Serialise, AnAbsentSubmoduleIsAnError) {
  EXPECT_EQ(error_of<Dense>("{}"), "[model.w1] \"w1\" is missing");
  EXPECT_EQ(error_of<Moe>("{}"), "[model.w1] \"experts\" is missing");
  EXPECT_EQ(error_of<Moe>(R"({"experts": {}})"), "accepted");
}

TEST(Serialise, LayerListsAreReadThroughTheirPatterns) {
  const std::string text = R"({"blocks": {"1-2": {"type": "moe", "experts": {}}, "0": {"type": "dense", "w1": {"op": "Linear"}}}})";
  const auto model = from_tree<Model>(parse_json(text, "t"), "model");
  ASSERT_EQ(model.blocks.size(), 3u);
  EXPECT_TRUE(std::holds_alternative<Dense>(model.blocks[0]));
  EXPECT_TRUE(std::holds_alternative<Moe>(model.blocks[2]));
  EXPECT_THAT(error_of<Model>(R"({"blocks": {"0": {"type": "dense", "w1": {"op": "Linear", "x": 1}}}})", "model"),
              HasSubstr("[model.blocks.0.w1] unknown key \"x\""));
  EXPECT_THAT(error_of<Model>(R"({"blocks": {"first": {}}})", "model"), HasSubstr("[model.blocks] the key \"first\" is no range"));
  EXPECT_THAT(error_of<Model>(R"({"blocks": []})", "model"), HasSubstr("[model.blocks] expected an object"));
}

}  // namespace
}  // namespace meshseek
