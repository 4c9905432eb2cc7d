#include "hf/tokenizer.hpp"

#include <fmt/format.h>

#include <unordered_map>

#include "base/error.hpp"
#include "base/file.hpp"
#include "config/tree.hpp"
#include "hf/quote_name.hpp"
#include "hf/tokenizer_added.hpp"
#include "hf/tokenizer_bpe.hpp"
#include "hf/tokenizer_model.hpp"
#include "hf/tokenizer_pre.hpp"

namespace meshseek {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{256} << 20;

/// Only the empty normalizer is supported: ids must give back the exact bytes of the text.
void check_normalizer(const Tree* normalizer, const std::string& where) {
  if (normalizer == nullptr || normalizer->is_null()) return;
  const Tree* type = normalizer->find("type");
  const std::string name = type == nullptr ? "without a type" : type->as_string(where);
  const Tree* list = normalizer->find("normalizers");
  if (name == "Sequence" && list != nullptr && list->is_array() && list->as_array(where).empty()) return;
  throw Error(
      fmt::format("[{}] normalizer {} is not supported; expected none or an empty Sequence; use another model", where, quote_name(name)));
}

void check_decoder(const Tree* decoder, const std::string& where) {
  const Tree* type = decoder == nullptr ? nullptr : decoder->find("type");
  const std::string name = type == nullptr ? "none" : type->as_string(where);
  if (name != "ByteLevel")
    throw Error(fmt::format("[{}] decoder {} is not supported; expected ByteLevel; use another model", where, quote_name(name)));
}

}  // namespace

struct Tokenizer::Impl {
  std::string where;
  std::vector<AddedToken> added;
  std::unordered_map<std::string, std::int64_t> added_ids;
  AddedTokenFinder finder;
  PreTokenizer pre;
  BpeModel model;

  Impl(const Tree& root, const std::string& name)
      : where(name),
        added(parse_added_tokens(root.find("added_tokens"), name + ": added_tokens")),
        finder(added),
        pre(root.find("pre_tokenizer"), name + ": pre_tokenizer"),
        model(parse_bpe_model(root.find("model"), added, name)) {
    check_normalizer(root.find("normalizer"), name + ": normalizer");
    check_decoder(root.find("decoder"), name + ": decoder");
    for (const AddedToken& token : added) added_ids.emplace(token.content, token.id);
  }

  void encode_plain(std::string_view text, BpeMerger& merger, std::vector<std::int64_t>& out) const {
    for (const std::string_view piece : pre.split(text)) merger.encode(piece, model.byte_ids, out);
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::from_folder(const Path& folder) {
  const Path path = folder / "tokenizer.json";
  return from_json(read_text_file(path, kMaxFileBytes), path.string());
}

Tokenizer Tokenizer::from_json(std::string_view text, const std::string& where) {
  try {
    const Tree root = parse_json(text, where);
    root.as_object(where);
    return Tokenizer(std::make_unique<Impl>(root, where));
  } catch (const ConfigError& error) {  // no JSON, or a value of another type
    throw Error(fmt::format("{}; expected a tokenizer.json; download it again", error.what()));
  }
}

std::vector<std::int64_t> Tokenizer::encode(std::string_view text, bool parse_added_tokens) const {
  if (const auto position = find_invalid_utf8(text)) {
    throw Error(fmt::format("[tokenizer] invalid UTF-8 at byte {}; expected UTF-8 text", *position));
  }
  std::vector<std::int64_t> out;
  BpeMerger merger(impl_->model.merges);
  std::size_t done = 0;
  while (parse_added_tokens && done < text.size()) {
    const auto match = impl_->finder.find(text, done);
    if (!match) break;
    impl_->encode_plain(text.substr(done, match->begin - done), merger, out);
    out.push_back(match->id);
    done = match->end;
  }
  impl_->encode_plain(text.substr(done), merger, out);
  return out;
}

std::string Tokenizer::decode(std::span<const std::int64_t> ids) const {
  std::string out;
  for (const std::int64_t id : ids) out += token_bytes(id);
  return out;
}

const std::string& Tokenizer::token_bytes(std::int64_t id) const {
  const auto& bytes = impl_->model.bytes;
  if (id < 0 || static_cast<std::size_t>(id) >= bytes.size() || bytes[static_cast<std::size_t>(id)].empty()) {
    throw Error(fmt::format("[{}] the id {} is no token; expected an id of the vocabulary, below {}", impl_->where, id, bytes.size()));
  }
  return bytes[static_cast<std::size_t>(id)];
}

std::int64_t Tokenizer::vocab_size() const { return static_cast<std::int64_t>(impl_->model.bytes.size()); }

const std::vector<AddedToken>& Tokenizer::added_tokens() const { return impl_->added; }

std::optional<std::int64_t> Tokenizer::added_token_id(std::string_view content) const {
  const auto found = impl_->added_ids.find(std::string(content));
  if (found == impl_->added_ids.end()) return std::nullopt;
  return found->second;
}

}  // namespace meshseek
