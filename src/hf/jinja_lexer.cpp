#include "hf/jinja_lexer.hpp"

#include <fmt/format.h>

#include <array>

#include "base/error.hpp"
#include "hf/unicode.hpp"

namespace meshseek {
namespace {

using TokenKind = JinjaToken::Kind;

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

/// LF line breaks, without the last one.
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
    out += source[i] == '\r' ? '\n' : source[i];
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : text_(normalized(source)) {}

  std::vector<JinjaToken> run() {
    while (at_ < text_.size()) {
      const std::size_t tag = next_tag();
      push_text(tag);
      if (tag == std::string::npos) break;
      enter_tag(tag);
    }
    push(TokenKind::End, "");
    return std::move(tokens_);
  }

 private:
  bool follows(std::string_view expected) const { return std::string_view(text_).substr(at_, expected.size()) == expected; }

  void push(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  void advance(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) line_ += text_[at_ + i] == '\n' ? 1 : 0;
    at_ += count;
  }

  void skip_space() {
    std::size_t end = at_;
    while (end < text_.size() && is_space(text_[end])) ++end;
    advance(end - at_);
  }

  std::size_t next_tag() const {
    for (std::size_t i = at_; (i = text_.find('{', i)) != std::string::npos; ++i) {
      if (i + 1 < text_.size() && (text_[i + 1] == '{' || text_[i + 1] == '%' || text_[i + 1] == '#')) return i;
    }
    return std::string::npos;
  }

  /// The text before a tag (npos: the rest): `{%-` strips it; a tag other than `{{` strips the blanks of its own line.
  void push_text(std::size_t tag) {
    std::string_view text = std::string_view(text_).substr(at_, tag == std::string::npos ? tag : tag - at_);
    const std::size_t length = text.size();
    const char mark = tag != std::string::npos && tag + 2 < text_.size() ? text_[tag + 2] : ' ';
    if (mark == '-' && tag != std::string::npos) {
      while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    } else if (tag != std::string::npos && mark != '+' && text_[tag + 1] != '{') {
      const std::size_t line_start = text.rfind('\n') + 1;  // npos + 1 is 0
      const bool blank = text.find_first_not_of(" \t\n\r\v\f", line_start) == std::string_view::npos;
      if (blank && (line_start > 0 || line_starting_)) text = text.substr(0, line_start);
    }
    if (!text.empty()) push(TokenKind::Text, std::string(text));
    advance(length);
  }

  void enter_tag(std::size_t tag) {
    const std::size_t line = line_;
    const char type = text_[tag + 1];
    advance(2);
    if (follows("-") || follows("+")) advance(1);
    if (type == '#') {
      const std::size_t close = text_.find("#}", at_);
      if (close == std::string::npos) fail_jinja(line, "a comment without '#}'");
      const char mark = close > at_ ? text_[close - 1] : ' ';
      advance(close - at_);
      close_tag(2, mark == '-', mark != '+');
      return;
    }
    const bool block = type == '%';
    push(block ? TokenKind::BlockBegin : TokenKind::OutputBegin, "");
    brackets_.clear();
    while (!tag_ends(block)) expression_token(line);
    push(block ? TokenKind::BlockEnd : TokenKind::OutputEnd, "");
    const bool marked = follows("-") || follows("+");
    const bool strip = follows("-");
    const bool keep = follows("+");
    close_tag(marked ? 3 : 2, strip, block && !keep);
  }

  /// Skips the end of a tag and the white space that goes with it.
  void close_tag(std::size_t length, bool strip, bool trim_newline) {
    const std::size_t begin = at_;
    advance(length);
    if (strip) {
      skip_space();
    } else if (trim_newline && follows("\n")) {
      advance(1);
    }
    line_starting_ = at_ > begin && text_[at_ - 1] == '\n';
  }

  bool tag_ends(bool block) {
    skip_space();
    if (!brackets_.empty()) return false;
    return block ? follows("%}") || follows("-%}") || follows("+%}") : follows("}}") || follows("-}}");
  }

  void expression_token(std::size_t tag_line) {
    if (at_ >= text_.size()) fail_jinja(tag_line, "a tag that is not closed");
    const char c = text_[at_];
    if (c == '\'' || c == '"') {
      string_literal(c);
    } else if (is_digit(c)) {
      number();
    } else if (is_letter(c)) {
      std::size_t end = at_;
      while (end < text_.size() && (is_letter(text_[end]) || is_digit(text_[end]))) ++end;
      push(TokenKind::Name, text_.substr(at_, end - at_));
      advance(end - at_);
    } else {
      operator_token();
    }
  }

  void number() {
    std::size_t end = at_;
    bool is_float = false;
    const auto digits = [&] {
      while (end < text_.size() && is_digit(text_[end])) ++end;
    };
    digits();
    if (end + 1 < text_.size() && text_[end] == '.' && is_digit(text_[end + 1])) {
      is_float = true;
      ++end;
      digits();
    }
    if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      const std::size_t sign = end + 1 < text_.size() && (text_[end + 1] == '+' || text_[end + 1] == '-') ? 1 : 0;
      if (end + 1 + sign < text_.size() && is_digit(text_[end + 1 + sign])) {
        is_float = true;
        end += 1 + sign;
        digits();
      }
    }
    push(is_float ? TokenKind::Float : TokenKind::Integer, text_.substr(at_, end - at_));
    advance(end - at_);
  }

  void operator_token() {
    static constexpr std::array<std::string_view, 27> kOperators = {"==", "!=", "<=", ">=", "//", "**", "<", ">", "=",
                                                                    "+",  "-",  "*",  "/",  "%",  "~",  "|", ".", ",",
                                                                    ":",  ";",  "(",  ")",  "[",  "]",  "{", "}", "!"};
    for (const std::string_view spelling : kOperators) {
      if (!follows(spelling)) continue;
      track_bracket(spelling[0]);
      push(TokenKind::Operator, std::string(spelling));
      advance(spelling.size());
      return;
    }
    const std::string_view rest = std::string_view(text_).substr(at_);
    fail_jinja(line_, fmt::format("an unknown character '{}'", rest.substr(0, read_utf8(rest).length)));
  }

  /// Inside of brackets `}}` is no end of a tag.
  void track_bracket(char c) {
    if (c == '(' || c == '[' || c == '{') {
      brackets_ += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (brackets_.empty() || brackets_.back() != c) fail_jinja(line_, fmt::format("an unexpected '{}'", c));
      brackets_.pop_back();
    }
  }

  void string_literal(char quote) {
    const std::size_t line = line_;
    std::string value;
    advance(1);
    while (at_ < text_.size() && text_[at_] != quote) {
      if (text_[at_] == '\\') {
        escape(value, line);
      } else {
        value += text_[at_];
        advance(1);
      }
    }
    if (at_ >= text_.size()) fail_jinja(line, "a string that is not closed");
    advance(1);
    tokens_.push_back({TokenKind::String, std::move(value), line});
  }

  /// Escapes as in Python: an unknown one keeps its backslash.
  void escape(std::string& value, std::size_t line) {
    static constexpr std::string_view kLetters = "ntr\\'\"abfv";
    static constexpr std::string_view kValues = "\n\t\r\\'\"\a\b\f\v";
    if (at_ + 1 >= text_.size()) fail_jinja(line, "a string that is not closed");
    const char c = text_[at_ + 1];
    const std::size_t known = kLetters.find(c);
    if (known != std::string_view::npos) {
      value += kValues[known];
    } else if (c == 'x' || c == 'u') {
      hex_escape(value, c == 'x' ? 2 : 4);
      return;
    } else if (c == 'U' || c == 'N' || is_digit(c)) {
      fail_jinja(line_, fmt::format("the escape \\{} is not supported", c));
    } else if (c != '\n') {
      value += '\\';
      value += c;
    }
    advance(2);
  }

  void hex_escape(std::string& value, std::size_t digits) {
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::uint32_t code_point = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      const char c = at_ + 2 + i < text_.size() ? text_[at_ + 2 + i] : ' ';
      const std::size_t digit = kDigits.find(c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c);
      if (digit == std::string_view::npos) fail_jinja(line_, "a \\x or \\u without its hexadecimal digits");
      code_point = code_point * 16 + static_cast<std::uint32_t>(digit);
    }
    if (code_point >= 0xD800 && code_point <= 0xDFFF) fail_jinja(line_, "a surrogate in a \\u escape");
    append_utf8(value, code_point);
    advance(2 + digits);
  }

  std::string text_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  bool line_starting_ = true;  ///< the text at the read position starts a line of the template
  std::string brackets_;       ///< closing brackets that are due
  std::vector<JinjaToken> tokens_;
};

}  // namespace

std::vector<JinjaToken> lex_jinja(std::string_view source) { return Lexer(source).run(); }

void fail_jinja(std::size_t line, const std::string& message) {
  throw Error(fmt::format("[chat template, line {}] {}; expected the supported part of Jinja", line, message));
}

}  // namespace meshseek
