#include <fmt/format.h>

#include <memory>

#include "base/error.hpp"
#include "cli/flags.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "hf/chat_template.hpp"

namespace meshseek::cli {
namespace {

struct TemplateFlags {
  std::string folder = {};
  bool add_generation_prompt = false;
  std::string kwargs = {};
};

/// What the template sees: an array is the messages, an object the whole context.
Tree read_context(const TemplateFlags& flags) {
  Tree context = parse_json(read_stdin(), "stdin");
  if (context.is_array()) {
    Tree messages = std::move(context);
    context = Tree();
    context.set("messages", std::move(messages));
  }
  if (!context.is_object()) throw Error(fmt::format("[stdin] expected an array of messages or an object, got {}", describe(context)));
  if (flags.add_generation_prompt || context.find("add_generation_prompt") == nullptr) {
    context.set("add_generation_prompt", Tree(flags.add_generation_prompt));
  }
  if (flags.kwargs.empty()) return context;
  const Tree kwargs = parse_json(flags.kwargs, "--kwargs");
  for (const auto& [name, value] : kwargs.as_object("--kwargs")) context.set(name, value);
  return context;
}

void run_template(const TemplateFlags& flags) {
  const ChatTemplate chat_template = ChatTemplate::from_folder(flags.folder);
  print(chat_template.render(read_context(flags)));
}

}  // namespace

void add_template(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<TemplateFlags>();
  CLI::App* verb = app.add_subcommand("template", "Renders the chat template for messages (JSON) on stdin");
  verb->add_option("MODEL", flags->folder, "folder with tokenizer_config.json: checkpoint, store or tokenizer")->required();
  verb->add_flag("--add-generation-prompt", flags->add_generation_prompt, "end with the beginning of the assistant's answer");
  verb->add_option("--kwargs", flags->kwargs, "JSON object with more variables for the template")->type_name("JSON");
  verb->footer(
      "Example:\n  echo '[{\"role\": \"user\", \"content\": \"Dost thou love me?\"}]' | meshseek template models/tiny-shakespeare");
  verb->callback([flags, &action] { action = [flags] { run_template(*flags); }; });
}

}  // namespace meshseek::cli
