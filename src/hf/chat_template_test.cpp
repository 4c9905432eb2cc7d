// Golden renderings were written with transformers and Jinja2 (tests/data/templates).
#include "hf/chat_template.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/error.hpp"
#include "base/file.hpp"

namespace meshseek {
namespace {

using testing::HasSubstr;

const Path kSource = MESHSEEK_SOURCE_DIR;
const Path kTemplates = kSource / "tests/data/templates";

std::string render(std::string_view source, std::string_view context = "{}") {
  return ChatTemplate(source).render(parse_json(context, "context"));
}

std::string refusal(std::string_view source, std::string_view context = "{}") {
  try {
    return "gave: " + render(source, context);
  } catch (const Error& error) {
    return error.what();
  }
}

/// Tests of the third tier that are supported although DeepSeek templates do not need them.
const std::set<std::int64_t> kSupportedOfTier3 = {72, 77, 79, 81, 87, 88};

TEST(ChatTemplate, GivesTheReferencesTextForEveryFeatureOfTiersOneAndTwo) {
  std::ifstream file(kTemplates / "jinja-features.jsonl");
  std::size_t checked = 0;
  for (std::string text; std::getline(file, text);) {
    SCOPED_TRACE(text);
    const Tree line = parse_json(text, "jinja-features.jsonl");
    if (line.find("tier")->as_integer("tier") == 3 && !kSupportedOfTier3.contains(line.find("id")->as_integer("id"))) continue;
    ++checked;
    const std::string& source = line.find("template")->as_string("template");
    const Tree& context = *line.find("context");
    if (line.find("error") != nullptr) {
      EXPECT_THROW(ChatTemplate(source).render(context), Error);
    } else {
      EXPECT_EQ(ChatTemplate(source).render(context), line.find("text")->as_string("text"));
    }
  }
  EXPECT_EQ(checked, 88u);
}

TEST(ChatTemplate, RefusesTheOtherFeaturesInsteadOfGivingAnotherText) {
  std::ifstream file(kTemplates / "jinja-features.jsonl");
  std::size_t checked = 0;
  for (std::string text; std::getline(file, text);) {
    SCOPED_TRACE(text);
    const Tree line = parse_json(text, "jinja-features.jsonl");
    if (line.find("tier")->as_integer("tier") != 3 || kSupportedOfTier3.contains(line.find("id")->as_integer("id"))) continue;
    ++checked;
    EXPECT_THROW(ChatTemplate(line.find("template")->as_string("template")).render(*line.find("context")), Error);
  }
  EXPECT_EQ(checked, 12u);
}

TEST(ChatTemplate, RendersAll152ChatsLikeTheReferenceWithTheTemplateOfDeepSeekV3) {
  const ChatTemplate chat = ChatTemplate::from_folder(kSource / "tests/data/tokenizers/deepseek-v3");
  std::ifstream file(kTemplates / "chat-templates.jsonl");
  std::size_t count = 0;
  std::size_t errors = 0;
  for (std::string text; std::getline(file, text); ++count) {
    SCOPED_TRACE(text);
    const Tree line = parse_json(text, "chat-templates.jsonl");
    Tree context = *line.find("kwargs");
    context.set("messages", *line.find("messages"));
    context.set("tools", *line.find("tools"));
    if (line.find("error") != nullptr) {
      EXPECT_THROW(chat.render(context), Error);
      ++errors;
    } else {
      EXPECT_EQ(chat.render(context), line.find("text")->as_string("text"));
    }
  }
  EXPECT_EQ(count, 152u);
  EXPECT_EQ(errors, 14u);
}

TEST(ChatTemplate, RendersTheTemplateOfTheSmallModel) {
  const ChatTemplate chat = ChatTemplate::from_folder(kSource / "models/tiny-shakespeare");
  const Tree context = parse_json(R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
    {"role": "system", "content": "S"}, {"role": "user", "content": "c"}], "add_generation_prompt": true})",
                                  "context");
  EXPECT_EQ(chat.render(context), "<｜begin▁of▁sentence｜>S<｜User｜>a<｜Assistant｜>b<｜end▁of▁sentence｜><｜User｜>c<｜Assistant｜>");
}

TEST(ChatTemplate, PrintsValuesLikePython) {
  EXPECT_EQ(render("{{ x }}", R"({"x": ["it's", "a\"b'", "\n\u0007\u00a0\u2028", 1e16, 123456.789, 1e-5, 0.1, -0.0, 2.5e-310]})"),
            R"(["it's", 'a"b\'', '\n\x07\xa0\u2028', 1e+16, 123456.789, 1e-05, 0.1, -0.0, 2.5e-310])");
  EXPECT_EQ(render("{% for p in x.items() %}{{ p }}{{ p[1:] }}{{ p | tojson }}{% endfor %}", R"({"x": {"a": 1}})"),
            "('a', 1)(1,)[\"a\", 1]");
  EXPECT_EQ(render("{{ x | tojson }}", R"({"x": {"a": [], "b": {}, "c": "\b\f<'&>é"}})"), R"({"a": [], "b": {}, "c": "\b\f<'&>é"})");
}

TEST(ChatTemplate, KeepsPythonsRulesOfIndexesAndComparisons) {
  EXPECT_EQ(render("{{ x[5] }}|{{ x['a'] }}|{{ 'aé'[-1] }}|{{ x[true] }}", R"({"x": [1, 2]})"), "||é|2");
  EXPECT_EQ(render("{{ 'abcdef'[-100:4:2] }}{{ 'abcdef'[4:0:-2] }}{{ 'abc'[9:] }}"), "acec");
  EXPECT_EQ(render("{{ 1 == true }}{{ 1 == 1.0 }}{{ '1' == 1 }}{{ [1, {'a': 2}] == [1.0, {'a': 2}] }}{{ 1 < 2 < 2 }}"),
            "TrueTrueFalseTrueFalse");
  EXPECT_EQ(render("{% for k, v in x.items() %}{{ k }}{{ v }}{% endfor %}{{ x.get('q', 7) }}", R"({"x": {"a": 1}})"), "a17");
}

TEST(ChatTemplate, NamesTheLineOfWhatItDoesNotUnderstand) {
  EXPECT_THAT(refusal("a\nb{% macro f() %}{% endmacro %}"), HasSubstr("line 2] the statement 'macro'"));
  EXPECT_THAT(refusal("{{ x | upper }}"), HasSubstr("line 1] the filter 'upper'"));
  EXPECT_THAT(refusal("\n\n{{ x is odd }}"), HasSubstr("line 3] the test 'odd'"));
  EXPECT_THAT(refusal("{% for a in [1] %}{{ loop.previtem }}{% endfor %}"), HasSubstr("'loop.previtem'"));
  EXPECT_THAT(refusal("{% for a in [1] %}{{ loop }}{% endfor %}"), HasSubstr("'loop' is used as a value"));
  EXPECT_THAT(refusal("{{ range(3) }}"), HasSubstr("the call of 'range'"));
  EXPECT_THAT(refusal("\n{{ 'a'.upper() }}"), HasSubstr("line 2] the method 'upper'"));
  EXPECT_THAT(refusal("{{ x.items }}", R"({"x": {"items": 1}})"), HasSubstr("a method of objects that is not called"));
  EXPECT_THAT(refusal("{{ x['items'] }}", R"({"x": {}})"), HasSubstr("a method of objects that is not called"));
  EXPECT_EQ(render("{{ x['items'] }}", R"({"x": {"items": 1}})"), "1");
  EXPECT_THAT(refusal("{{ a b }}"), HasSubstr("'b' where '}}' should be"));
  EXPECT_THAT(refusal("{% if a %}{% for b in c %}{% endif %}"), HasSubstr("'endif'"));
  EXPECT_THAT(refusal("{% if a %}\n{% else %}\n"), HasSubstr("without 'endif'"));
  EXPECT_THAT(refusal("{# never closed"), HasSubstr("comment"));
  EXPECT_THAT(refusal("{{ (a] }}"), HasSubstr("unexpected ']'"));
  EXPECT_THAT(refusal("\xFF"), HasSubstr("invalid UTF-8"));
}

TEST(ChatTemplate, NamesTheLineWhereRenderingFails) {
  EXPECT_THAT(refusal("a\n{{ x.y.z }}", R"({"x": {}})"), HasSubstr("line 2] 'y', which is undefined,"));
  EXPECT_THAT(refusal("{{ 'a' + none }}"), HasSubstr("'+' between a string and none"));
  EXPECT_THAT(refusal("{% set x.y = 1 %}", R"({"x": {}})"), HasSubstr("not of a namespace"));
  EXPECT_THAT(refusal("{{ raise_exception('only users') }}"), HasSubstr("only users"));
  EXPECT_THAT(refusal("{{ missing | tojson }}"), HasSubstr("undefined"));
  EXPECT_THAT(refusal("{{ x.keys()[0] }}", R"({"x": {}})"), HasSubstr("an index of a view"));
  EXPECT_THAT(refusal("{{ x.items() }}", R"({"x": {}})"), HasSubstr("a view of an object"));
}

TEST(ChatTemplate, BoundsOutputStepsMemoryAndRecursion) {
  const std::string many = "[" + std::string(2000, '[') + std::string(2000, ']') + "]";
  EXPECT_THAT(refusal("{{ " + many + " }}"), HasSubstr("nests deeper"));
  std::string chain = "{{ 'a'";
  for (int i = 0; i < 2000; ++i) chain += " + 'a'";
  EXPECT_THAT(refusal(chain + " }}"), HasSubstr("levels"));
  std::string ifs;
  for (int i = 0; i < 1000; ++i) ifs += "{% if a %}";
  EXPECT_THAT(refusal(ifs), HasSubstr("nest deeper"));
  std::string elifs = "{% if a %}";
  for (int i = 0; i < 1000; ++i) elifs += "{% elif a %}";
  EXPECT_THAT(refusal(elifs + "{% endif %}"), HasSubstr("nest deeper"));
  std::string list = "[0";
  for (int i = 0; i < 99; ++i) list += ",0";
  const std::string context = R"({"x": )" + list + "]}";
  const std::string loop = "{% for a in x %}";
  const std::string end = "{% endfor %}";
  EXPECT_THAT(refusal(loop + loop + loop + loop + loop + end + end + end + end + end, context), HasSubstr("steps"));
  EXPECT_THAT(refusal("{% set n = namespace(s='ab') %}" + loop + "{% set n.s = n.s + n.s %}" + end, context), HasSubstr("longer than"));
  EXPECT_THAT(refusal("{% set n = namespace(s=[1]) %}" + loop + "{% set n.s = [n.s, n.s] %}" + end, context), HasSubstr("grows too large"));
  EXPECT_THAT(refusal("{% set n = namespace(s=1) %}" + loop + loop + "{% set n.s = [n.s] %}" + end + end, context),
              HasSubstr("nest deeper"));
  EXPECT_THAT(refusal("{% set n = namespace(s=1) %}{% set n.s = n %}"), HasSubstr("namespace inside"));
  EXPECT_THAT(refusal(loop + loop + loop + std::string(100, 'z') + end + end + end, context), HasSubstr("longer than"));
}

TEST(ChatTemplate, NeedsAFolderWithATemplate) {
  const Path folder = std::filesystem::temp_directory_path() / fmt::format("meshseek-chat-template-{}", ::getpid());
  std::filesystem::create_directories(folder);
  EXPECT_THROW(ChatTemplate::from_folder(folder), Error);
  write_file_atomically(folder / "tokenizer_config.json", std::string_view(R"({"bos_token": "<b>"})"));
  EXPECT_THROW(ChatTemplate::from_folder(folder), Error);
  write_file_atomically(
      folder / "tokenizer_config.json",
      std::string_view(R"({"bos_token": "<b>", "eos_token": {"content": "<e>"}, "chat_template": "{{ bos_token }}{{ eos_token }}"})"));
  EXPECT_EQ(ChatTemplate::from_folder(folder).render(Tree(Tree::Object{})), "<b><e>");
  EXPECT_EQ(ChatTemplate::from_folder(folder).render(parse_json(R"({"bos_token": "x"})", "context")), "x<e>");
  write_file_atomically(
      folder / "tokenizer_config.json",
      std::string_view(R"({"chat_template": [{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}]})"));
  EXPECT_EQ(ChatTemplate::from_folder(folder).render(Tree(Tree::Object{})), "d");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace meshseek
