/// SHA-256 (OpenSSL).
#pragma once
#include <string>
#include <string_view>

namespace meshseek {

/// SHA-256 of the bytes of `content` as 64 lower-case hexadecimal digits.
std::string sha256_hex(std::string_view content);

}  // namespace meshseek
