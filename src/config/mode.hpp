/// What a model config is for.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

namespace meshseek {

/// prefill: many tokens of one sequence; decode: one token.
enum class Mode : std::uint8_t { prefill, decode };
constexpr auto enum_names(Mode) {
  return std::array<std::pair<Mode, std::string_view>, 2>{{{Mode::prefill, "prefill"}, {Mode::decode, "decode"}}};
}

}  // namespace meshseek
