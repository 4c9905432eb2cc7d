#include "hf/chat_template.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/file.hpp"
#include "hf/jinja_eval.hpp"
#include "hf/jinja_parser.hpp"
#include "hf/tokenizer.hpp"

namespace meshseek {
namespace {

constexpr std::size_t kMaxTemplateBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxTokenizerConfigBytes = std::size_t{64} << 20;

JinjaBlock parse_checked(std::string_view source) {
  if (source.size() > kMaxTemplateBytes) {
    throw Error(fmt::format("[chat template] {} bytes; expected at most {}", source.size(), kMaxTemplateBytes));
  }
  if (const auto position = find_invalid_utf8(source)) {
    throw Error(fmt::format("[chat template] invalid UTF-8 at byte {}; expected UTF-8 text", *position));
  }
  return parse_jinja(source);
}

/// The template text: one string, or a list of named templates of which "default" is taken.
const std::string& template_text(const Tree& config, const std::string& where) {
  const Tree* field = config.find("chat_template");
  if (field == nullptr || field->is_null()) {
    throw Error(fmt::format("[{}] 'chat_template' is missing; expected the model's template; give prompts as plain text instead", where));
  }
  if (field->is_string()) return field->as_string(where);
  for (const Tree& entry : field->as_array(where + ".chat_template")) {
    const Tree* name = entry.find("name");
    const Tree* text = entry.find("template");
    if (name != nullptr && text != nullptr && *name == Tree("default")) return text->as_string(where + ".chat_template");
  }
  throw Error(fmt::format("[{}] 'chat_template' has no entry 'default'; expected a text or a list with that entry", where));
}

}  // namespace

struct ChatTemplate::Impl {
  JinjaBlock blocks = {};
  std::vector<std::pair<std::string, JinjaValue>> tokens = {};  ///< bos_token, eos_token

  /// A special token of tokenizer_config.json: a text, or an object with "content".
  void add_token(const Tree& config, const std::string& name, const std::string& where) {
    const Tree* field = config.find(name);
    if (field != nullptr && field->is_object()) field = field->find("content");
    if (field == nullptr || field->is_null()) return;
    tokens.emplace_back(name, JinjaValue(field->as_string(fmt::format("{}.{}", where, name))));
  }
};

ChatTemplate::ChatTemplate(std::string_view source) : impl_(std::make_unique<Impl>()) { impl_->blocks = parse_checked(source); }

ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

ChatTemplate ChatTemplate::from_folder(const Path& folder) {
  const Path path = folder / "tokenizer_config.json";
  const std::string where = path.string();
  const Tree config = parse_json(read_text_file(path, kMaxTokenizerConfigBytes), where);
  ChatTemplate out(template_text(config, where));
  out.impl_->add_token(config, "bos_token", where);
  out.impl_->add_token(config, "eos_token", where);
  return out;
}

std::string ChatTemplate::render(const Tree& context) const {
  if (!context.is_object()) throw Error(fmt::format("[chat template] the context is a JSON {}; expected an object", context.type_name()));
  std::vector<std::pair<std::string, JinjaValue>> members;
  try {
    for (const auto& [name, value] : context.as_object("context")) members.emplace_back(name, JinjaValue::from_tree(value));
    for (const auto& token : impl_->tokens) {
      if (context.find(token.first) == nullptr) members.push_back(token);
    }
    return render_jinja(impl_->blocks, JinjaValue(std::move(members)));
  } catch (const JinjaFault& fault) {
    throw Error(fmt::format("[chat template] {}; expected messages of a usual size", fault.what()));
  }
}

}  // namespace meshseek
