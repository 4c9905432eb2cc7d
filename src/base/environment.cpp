#include "base/environment.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "base/error.hpp"

namespace meshseek {

std::optional<std::int64_t> number_of_environment(const char* name, std::int64_t most, std::string_view what) {
  const char* text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  std::int64_t number = -1;
  const char* end = text + std::strlen(text);
  const auto [parsed, error] = std::from_chars(text, end, number);
  if (error != std::errc() || parsed != end || number < 0 || number > most)
    throw Error(fmt::format("[{}] \"{}\"; expected {} from 0 to {}", name, text, what, most));
  return number;
}

}  // namespace meshseek
