/// What fuzz targets allow a reader to do with an input.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.hpp"

namespace meshseek {

/// What a target returns for an input that was refused: it stays out of the corpus. A reader stops at the first error, so that changes of accepted
/// files meet every error, and changes of refused ones hardly anything else.
constexpr int kRefused = -1;

/// A message is one short line that begins with its place; anything else is a finding.
inline void check_message(std::string_view message) {
  constexpr std::size_t kMaxBytes = 2000;
  const bool one_line = std::none_of(message.begin(), message.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
  if (message.starts_with('[') && message.size() <= kMaxBytes && one_line) return;
  std::fprintf(stderr, "a bad message: %.*s\n", static_cast<int>(message.size()), message.data());
  std::abort();
}

/// What `action` returns; empty when it throws an Error. Every other exception ends the program, which is a finding.
template <class Action>
auto accept(Action&& action) -> std::optional<decltype(action())> {
  try {
    return std::forward<Action>(action)();
  } catch (const Error& error) {
    check_message(error.what());
    return std::nullopt;
  }
}

/// Reads every byte, so that the address sanitizer sees bytes that are not there.
template <class Bytes>
void touch(const Bytes& bytes) {
  unsigned int sum = 0;
  for (const auto byte : bytes) sum += static_cast<unsigned int>(byte);
  volatile unsigned int seen = sum;
  static_cast<void>(seen);
}

}  // namespace meshseek
