// Malformed tokenizer.json files, class by class.
#include <functional>

#include "config/tree.hpp"
#include "hf/tokenizer.hpp"
#include "tests/support/malformed.hpp"

namespace meshseek {
namespace {

using testing::MalformedFile;

Tree parse(std::string_view text) { return parse_json(text, "test"); }

Tree good() {
  return parse(R"({"added_tokens": [{"id": 6, "content": "<x>", "special": true}, {"id": 7, "content": "<y>", "special": false}],
    "normalizer": null, "decoder": {"type": "ByteLevel"},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": " "}, "behavior": "Isolated", "invert": false},
      {"type": "Digits", "individual_digits": true},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "Ġ": 3, "ab": 4, "abc": 5}, "merges": [["a", "b"], "ab c"]}})");
}

/// The good file, changed in one place.
std::string changed(const std::function<void(Tree&)>& change) {
  Tree root = good();
  change(root);
  return to_json_line(root);
}

std::string with_vocabulary(const std::string& token, Tree id) {
  return changed([&](Tree& t) { t.find("model")->find("vocab")->set(token, std::move(id)); });
}
std::string with_merge(Tree merge) {
  return changed([&](Tree& t) { t.find("model")->find("merges")->array().push_back(std::move(merge)); });
}
std::string with_added(const std::string& key, Tree value) {
  return changed([&](Tree& t) { t.find("added_tokens")->array()[0].set(key, std::move(value)); });
}
std::string with_model(const std::string& key, Tree value) {
  return changed([&](Tree& t) { t.find("model")->set(key, std::move(value)); });
}
std::string with_step(std::size_t index, const std::string& key, Tree value) {
  return changed([&](Tree& t) { t.find("pre_tokenizer")->find("pretokenizers")->array()[index].set(key, std::move(value)); });
}
std::string with_pattern(const char* pattern) { return with_step(0, "pattern", Tree(Tree::Object{{"Regex", Tree(pattern)}})); }
std::string with(const std::string& key, const char* json) {
  return changed([&](Tree& t) { t.set(key, parse(json)); });
}

std::vector<MalformedFile> malformed_documents() {
  return {{"empty", "", "unexpected end of input; expected '[', '{', or a literal"},
          {"no-json", "not json", "invalid literal"},
          {"cut-off", to_json_line(good()).substr(0, 99), "while parsing object key"},
          {"no-object", "[1]", "[file] expected an object, got an array"},
          {"duplicate-key", R"({"model":{},"model":{}})", "the key \"model\" is given twice"},
          {"normalizer", with("normalizer", R"({"type": "NFC"})"), "normalizer \"NFC\" is not supported"},
          {"decoder", with("decoder", R"({"type": "Fuse"})"), "decoder \"Fuse\" is not supported"},
          {"decoder-missing", with("decoder", "null"), "decoder \"none\" is not supported"},
          {"model-missing", changed([](Tree& t) { std::erase_if(t.object(), [](const auto& m) { return m.first == "model"; }); }),
           "the model is missing"},
          {"model-empty", with("model", "{}"), "'type' is missing; expected type, vocab and merges"},
          {"model-type", with_model("type", "Uni\ngram"), "model type \"Uni?gram\" is not supported"},
          {"model-type-no-string", with_model("type", 1), "model.type] expected a string"},
          {"option", with_model("byte_fallback", true), "option 'byte_fallback' is set"}};
}

std::vector<MalformedFile> malformed_steps() {
  return {
      {"pre-tokenizer-missing", with("pre_tokenizer", "null"), "no pre-tokenizer"},
      {"steps-missing", with("pre_tokenizer", R"({"type": "Sequence", "pretokenizers": []})"), "a list 'pretokenizers' that is not empty"},
      {"steps-many", changed([](Tree& t) {
         Tree::Array& steps = t.find("pre_tokenizer")->find("pretokenizers")->array();
         const Tree digits = steps[1];
         steps.insert(steps.begin(), 30, digits);
       }),
       "33 steps; expected at most 32"},
      {"step-type", with_step(0, "type", "Meta\nspace"), "pre-tokenizer type \"Meta?space\" is not supported"},
      {"step-without-type", with("pre_tokenizer", "{}"), "'type' is missing; expected Sequence"},
      {"order", changed([](Tree& t) { t.find("pre_tokenizer")->find("pretokenizers")->array().pop_back(); }), "ByteLevel as the last step"},
      {"behavior", with_step(0, "behavior", "Removed"), "expected behavior Isolated"},
      {"invert", with_step(0, "invert", true), "expected invert false"},
      {"pattern-kind", with_step(0, "pattern", Tree(Tree::Object{{"String", Tree(" ")}})), "expected a pattern of kind Regex"},
      {"pattern-of-the-other-engine", with_pattern("\\\n"), "the escape \\ \"?\" at character 0"},
      {"pattern-property", with_pattern("\\p{\n}"), "the property \\p \"?\" at character 0"},
      {"pattern-bad", with_pattern("(a"), "bad pattern: missing closing parenthesis"},
      {"pattern-of-nothing", with_pattern("a*"), "can match the empty text"},
      {"digits", with_step(1, "individual_digits", false), "expected individual_digits true"},
      {"prefix-space", with_step(2, "add_prefix_space", true), "expected add_prefix_space false"},
      {"byte-level-regex", with_step(2, "use_regex", true), "expected use_regex false"}};
}

std::vector<MalformedFile> malformed_vocabularies() {
  return {{"vocabulary-missing", with("model", R"({"type": "BPE", "merges": []})"), "'vocab' is missing"},
          {"vocabulary-no-object", with_model("vocab", 1), "model.vocab] expected an object"},
          {"token-id-no-integer", with_vocabulary("zz", "1"), "model.vocab] expected an integer"},
          {"token-id-negative", with_vocabulary("zz", -1), "a token has id -1; expected"},
          {"token-id-too-high", with_vocabulary("zz", std::int64_t{1} << 40), "a token has id 1099511627776; expected"},
          {"token-id-twice", with_vocabulary("zz", 5), "the id 5 is given twice"},
          {"token-empty", with_vocabulary("", 9), "the token of id 9 is empty"},
          {"merges-missing", with("model", R"({"type": "BPE", "vocab": {}})"), "'merges' is missing"},
          {"merge-of-no-token", with_merge("q\nq r"), "merges[2]] \"q?q\" is not in the vocabulary"},
          {"merge-to-no-token", with_merge("c a"), "\"ca\" is not in the vocabulary"},
          {"merge-twice", with_merge("a b"), "the merge of \"a\" and \"b\" is given twice"},
          {"merge-of-one", with_merge("a\nb"), "\"a?b\"; expected two tokens with one space"},
          {"merge-of-three", with_merge(parse(R"(["a", "b", "c"])")), "3 parts"},
          {"merge-of-a-number", with_merge(7), "merges] expected a string, got an integer (7)"}};
}

std::vector<MalformedFile> malformed_added_tokens() {
  return {{"added-no-list", with("added_tokens", "{}"), "added_tokens] expected an array"},
          {"added-without-content", with("added_tokens", R"([{"id": 6}])"), "'content' is missing"},
          {"added-without-id", with("added_tokens", R"([{"content": "<x>"}])"), "'id' is missing"},
          {"added-flag", with_added("lstrip", true), "lstrip is true"},
          {"added-flag-no-boolean", with_added("rstrip", 1), "added_tokens[0].rstrip] expected"},
          {"added-content-empty", with_added("content", ""), "the content is empty"},
          {"added-content-twice", with_added("content", "<y>"), "the content \"<y>\" is given twice"},
          {"added-id-negative", with_added("id", -7), "id -7 is negative"},
          {"added-id-twice", with_added("id", 7), "the id 7 is given twice; expected one entry"},
          {"added-id-of-a-token", with_added("id", 1), "the id 1 is given twice; expected one token"},
          {"added-id-too-high", with_added("id", 9999), "a token has id 9999"},
          {"added-contradicts", with_added("content", "abc"), "\"abc\" has id 6, but 5 in the vocabulary"}};
}

TEST(MalformedTokenizers, EachClassHasItsOwnMessage) {
  std::vector<MalformedFile> files = malformed_documents();
  for (const auto& more : {malformed_steps(), malformed_vocabularies(), malformed_added_tokens()})
    files.insert(files.end(), more.begin(), more.end());
  testing::expect_own_messages(files, [](const std::string& content) { Tokenizer::from_json(content, "file"); });
}

TEST(MalformedTokenizers, TheGoodFileIsAccepted) {
  const Tokenizer tokenizer = Tokenizer::from_json(to_json_line(good()), "file");
  EXPECT_THAT(tokenizer.encode("abc<x>", true), ::testing::ElementsAre(5, 6));
}

}  // namespace
}  // namespace meshseek
