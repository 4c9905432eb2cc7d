/// Tokens of a Jinja template, with the white space rules of trim_blocks and lstrip_blocks applied.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace meshseek {

struct JinjaToken {
  enum class Kind { Text, OutputBegin, OutputEnd, BlockBegin, BlockEnd, Name, String, Integer, Float, Operator, End };
  Kind kind = Kind::End;
  std::string text = {};  ///< text as printed, the value of a string literal, or the spelling
  std::size_t line = 1;
};

/// Cuts a template; the last token is End. Line breaks become LF and the last one is dropped.
/// \throws Error with the line: unterminated tags, comments and strings, unknown characters.
std::vector<JinjaToken> lex_jinja(std::string_view source);

/// Throws an Error that names the line of a template.
[[noreturn]] void fail_jinja(std::size_t line, const std::string& message);

}  // namespace meshseek
