#include "hf/tokenizer_pre.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "hf/quote_name.hpp"

namespace meshseek {
namespace {

/// Each step costs compiled code and a pass over the text; DeepSeek's tokenizers have up to six.
constexpr std::size_t kMaxSteps = 32;

/// Refuses a step whose field is not what this engine implements.
void require(bool good, const std::string& where, std::string_view what) {
  if (!good) throw Error(fmt::format("[{}] a step of another kind; expected {}; use another model", where, what));
}

const std::string& type_of(const Tree& step, const std::string& where) {
  const Tree* type = step.find("type");
  if (type == nullptr)
    throw Error(fmt::format("[{}] 'type' is missing; expected Sequence, Split, Digits or ByteLevel; download the file again", where));
  return type->as_string(where + ".type");
}

bool is_bool(const Tree& step, std::string_view key, bool expected) {
  const Tree* value = step.find(key);
  return value != nullptr && value->is_bool() && value->as_bool(key) == expected;
}

SplitPattern split_step(const Tree& step, const std::string& where) {
  const Tree* behavior = step.find("behavior");
  require(behavior != nullptr && *behavior == Tree("Isolated"), where, "behavior Isolated");
  require(is_bool(step, "invert", false), where, "invert false");
  const Tree* pattern = step.find("pattern");
  const Tree* regex = pattern == nullptr ? nullptr : pattern->find("Regex");
  require(regex != nullptr, where, "a pattern of kind Regex");
  return SplitPattern(regex->as_string(where + ".pattern.Regex"), where + ".pattern.Regex");
}

}  // namespace

PreTokenizer::PreTokenizer(const Tree* config, const std::string& where) {
  if (config == nullptr || config->is_null()) {
    throw Error(fmt::format(
        "[{}] no pre-tokenizer; expected a Sequence that ends with ByteLevel, others are not supported; use another model", where));
  }
  if (type_of(*config, where) != "Sequence") {
    add_step(*config, where, true);
    return;
  }
  const Tree* list = config->find("pretokenizers");
  require(list != nullptr && list->is_array() && !list->as_array(where).empty(), where, "a list 'pretokenizers' that is not empty");
  const Tree::Array& steps = list->as_array(where);
  if (steps.size() > kMaxSteps)
    throw Error(fmt::format("[{}] the pre-tokenizer has {} steps; expected at most {}; use another model", where, steps.size(), kMaxSteps));
  for (std::size_t i = 0; i < steps.size(); ++i) add_step(steps[i], fmt::format("{}[{}]", where, i), i + 1 == steps.size());
}

void PreTokenizer::add_step(const Tree& step, const std::string& where, bool last) {
  const std::string& type = type_of(step, where);
  if (type != "Split" && type != "Digits" && type != "ByteLevel") {
    throw Error(fmt::format("[{}] pre-tokenizer type {} is not supported; expected Split, Digits or ByteLevel; use another model", where,
                            quote_name(type)));
  }
  require(last == (type == "ByteLevel"), where, "ByteLevel as the last step and only there");
  if (type == "Split") {
    steps_.push_back(split_step(step, where));
  } else if (type == "Digits") {
    require(is_bool(step, "individual_digits", true), where, "individual_digits true");
    steps_.emplace_back("\\p{N}", where);
  } else {
    require(is_bool(step, "add_prefix_space", false), where, "add_prefix_space false");
    require(is_bool(step, "use_regex", false), where, "use_regex false");
  }
}

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
  std::vector<std::string_view> pieces;
  if (!text.empty()) pieces.push_back(text);
  for (const SplitPattern& step : steps_) pieces = step.isolate(pieces);
  return pieces;
}

}  // namespace meshseek
