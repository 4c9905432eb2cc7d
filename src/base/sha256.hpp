/// SHA-256 (OpenSSL).
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace meshseek {

/// SHA-256 of the bytes of `content` as 64 lower-case hexadecimal digits.
std::string sha256_hex(std::string_view content);

/// The same for content that comes in pieces; about 1.8 GB/s where the CPU has SHA instructions.
class Sha256 {
 public:
  Sha256();
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span(text))); }
  /// 64 hexadecimal digits. Once only.
  std::string finish();

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;
};

}  // namespace meshseek
