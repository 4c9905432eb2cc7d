#include <fmt/format.h>

#include <memory>
#include <string_view>

#include "base/error.hpp"
#include "cli/flags.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "hf/tokenizer.hpp"

namespace meshseek::cli {
namespace {

struct TokenizeFlags {
  std::string folder = {};
  std::string ids = {};
  CLI::Option* decodes = nullptr;
  bool no_special = false;
  bool jsonl = false;
};

/// Text of ids as valid UTF-8, for JSON.
std::string valid_text(const std::string& bytes) {
  Utf8Stream stream;
  std::string text = stream.push(bytes);
  return text + stream.finish();
}

std::string encode_line(const Tokenizer& tokenizer, const Tree& request, const std::string& where, bool parse_added_tokens) {
  const Tree* text = request.find("text");
  if (text == nullptr) throw Error(fmt::format("[{}] has no \"text\"; expected {{\"text\": ..}}", where));
  Tree::Array ids;
  for (const std::int64_t id : tokenizer.encode(text->as_string(where + " text"), parse_added_tokens)) ids.emplace_back(id);
  Tree answer;
  answer.set("ids", Tree(std::move(ids)));
  return to_json_line(answer);
}

std::string decode_line(const Tokenizer& tokenizer, const Tree& request, const std::string& where) {
  const Tree* given = request.find("ids");
  if (given == nullptr) throw Error(fmt::format("[{}] has no \"ids\"; expected {{\"ids\": [..]}}", where));
  std::vector<std::int64_t> ids;
  for (const Tree& id : given->as_array(where + " ids")) ids.push_back(id.as_integer(where + " ids"));
  Tree answer;
  answer.set("text", Tree(valid_text(tokenizer.decode(ids))));
  return to_json_line(answer);
}

/// One JSON document per line in, one per line out.
void run_batch(const Tokenizer& tokenizer, const TokenizeFlags& flags) {
  const std::string input = read_stdin();
  std::string_view rest = input;
  for (int line_number = 1; !rest.empty(); ++line_number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    check_interrupted();
    const std::string where = fmt::format("stdin line {}", line_number);
    const Tree request = parse_json(line, where);
    const bool decodes = flags.decodes->count() > 0;
    print((decodes ? decode_line(tokenizer, request, where) : encode_line(tokenizer, request, where, !flags.no_special)) + "\n");
  }
}

void run_tokenize(TokenizeFlags flags) {
  // In `tokenize --ids FOLDER` the flag took the folder for its optional value.
  if (flags.folder.empty()) std::swap(flags.folder, flags.ids);
  if (flags.folder.empty()) throw UsageError("MODEL is required; see meshseek tokenize --help");
  const bool decodes = flags.decodes->count() > 0;
  const std::vector<std::int64_t> given_ids = ids_value(flags.ids, "--ids");
  const Tokenizer tokenizer = Tokenizer::from_folder(flags.folder);
  if (flags.jsonl) return run_batch(tokenizer, flags);
  if (decodes) return print(tokenizer.decode(flags.ids.empty() ? ids_value(read_stdin(), "stdin") : given_ids));
  print(fmt::format("{}\n", fmt::join(tokenizer.encode(read_stdin(), !flags.no_special), ",")));
}

}  // namespace

void add_tokenize(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* verb = app.add_subcommand("tokenize", "Text on stdin to token ids, or ids to text");
  verb->add_option("MODEL", flags->folder, "folder with tokenizer.json: checkpoint, store or tokenizer");
  flags->decodes = verb->add_option("--ids", flags->ids, "decode these ids, or those on stdin when none are given")->type_name("[1,2,3]");
  flags->decodes->expected(0, 1);
  verb->add_flag("--no-special", flags->no_special, "recognise no added token in the text: how user text is encoded");
  verb->add_flag("--jsonl", flags->jsonl, "one {\"text\"} per line in, one {\"ids\"} per line out; the reverse with --ids");
  verb->footer("Example:\n  printf 'To be' | meshseek tokenize models/tiny-shakespeare");
  verb->callback([flags, &action] { action = [flags] { run_tokenize(*flags); }; });
}

}  // namespace meshseek::cli
