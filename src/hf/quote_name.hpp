/// Names from files in error messages.
#pragma once
#include <string>
#include <string_view>

namespace meshseek {

/// `"name"` for a one-line message: control characters become '?', and long names are cut in front of a character.
inline std::string quote_name(std::string_view name) {
  constexpr std::size_t kMaxBytes = 200;
  std::size_t size = name.size() < kMaxBytes ? name.size() : kMaxBytes;
  while (size > 0 && size < name.size() && (static_cast<unsigned char>(name[size]) & 0xC0U) == 0x80U) --size;
  std::string text = "\"";
  for (const char c : name.substr(0, size)) text += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  return text + (size < name.size() ? "...\"" : "\"");
}

}  // namespace meshseek
