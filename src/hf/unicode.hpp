/// UTF-8 and code point helpers of the hf room. find_invalid_utf8 and Utf8Stream are declared in hf/tokenizer.hpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace meshseek {

/// One look at the front of a byte sequence.
struct Utf8Step {
  std::size_t length = 0;        ///< bytes that belong together: the whole character, or the bytes seen before the sequence broke (>= 1)
  bool valid = false;            ///< a complete, shortest-form scalar value
  bool cut = false;              ///< not valid only because the text ends; more bytes may complete it
  std::uint32_t code_point = 0;  ///< when valid
};

/// Looks at the first character of `text`, which must not be empty.
Utf8Step read_utf8(std::string_view text);

/// Appends a scalar value as UTF-8.
void append_utf8(std::string& out, std::uint32_t code_point);

/// Code points of valid UTF-8. \throws Error on invalid UTF-8; `where` starts the message.
std::u32string decode_utf8(std::string_view text, std::string_view where);

}  // namespace meshseek
