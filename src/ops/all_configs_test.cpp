// What holds for every operator config type.
#include "ops/all_configs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "config/serialise.hpp"

namespace meshseek {
namespace {

template <class Tuple>
struct AsTypes;
template <class... Ops>
struct AsTypes<std::tuple<Ops...>> {
  using Type = ::testing::Types<Ops...>;
};

template <class Op>
class EveryOperatorConfig : public ::testing::Test {};
TYPED_TEST_SUITE(EveryOperatorConfig, AsTypes<AllOperatorConfigs>::Type);

/// Names that for_each_field visits.
template <class Op>
std::set<std::string_view> visited(Op& op) {
  std::set<std::string_view> names;
  for_each_field(op, [&](std::string_view name, auto&) { names.insert(name); });
  return names;
}

TYPED_TEST(EveryOperatorConfig, ForEachFieldSkipsWhatIsUnsetAndVisitsWhatIsSet) {
  TypeParam op = {};
  for_each_declared_field(op, [&](std::string_view name, auto& member) {
    if constexpr (IsOptional<std::remove_cvref_t<decltype(member)>>::value) {
      member.reset();
      EXPECT_FALSE(visited(op).contains(name)) << name;
      member.emplace();
    }
    EXPECT_TRUE(visited(op).contains(name)) << name;
  });
}

TYPED_TEST(EveryOperatorConfig, IsWrittenReadAndWrittenAgainByteByByte) {
  TypeParam op = {};
  for_each_declared_field(op, [](std::string_view, auto& member) {
    if constexpr (IsOptional<std::remove_cvref_t<decltype(member)>>::value) member.emplace();
  });
  for (const TypeParam& value : {TypeParam{}, op}) {
    const std::string text = to_json(to_tree(value));
    EXPECT_EQ(to_json(to_tree(from_tree<TypeParam>(parse_json(text, "text"), "op"))), text);
  }
}

TYPED_TEST(EveryOperatorConfig, HasHelpForEachField) {
  const TypeParam op = {};
  for_each_declared_field_info(op, [](const auto& info, const auto&) { EXPECT_FALSE(info.help.empty()) << info.name; });
}

template <class... Ops>
std::set<std::string> listed(std::tuple<Ops...>*) {
  return {std::string(Ops::kOp)...};
}

TEST(AllOperatorConfigs, ListsEveryOperatorOfTheRoom) {
  std::set<std::string> declared;
  const std::regex op("kOp = \"([A-Za-z]+)\"");
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(MESHSEEK_SOURCE_DIR) / "src/ops")) {
    if (!entry.path().string().ends_with("_config.hpp")) continue;
    std::stringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    const std::string content = text.str();
    for (std::sregex_iterator found(content.begin(), content.end(), op), end; found != end; ++found) declared.insert((*found)[1]);
  }
  EXPECT_EQ(listed(static_cast<AllOperatorConfigs*>(nullptr)), declared);
}

}  // namespace
}  // namespace meshseek
