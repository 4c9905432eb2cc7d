#include "base/sha256.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include "base/error.hpp"

namespace meshseek {
namespace {

template <class Context>
EVP_MD_CTX* evp(const Context& context) {
  return static_cast<EVP_MD_CTX*>(context.get());
}

void check(int result) {
  if (result != 1) throw Error("[sha256] OpenSSL offers no SHA-256; is it in a restricted mode?");
}

}  // namespace

void Sha256::Free::operator()(void* context) const { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context)); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) { check(EVP_DigestInit_ex(evp(context_), EVP_sha256(), nullptr)); }

void Sha256::update(std::span<const std::byte> bytes) { check(EVP_DigestUpdate(evp(context_), bytes.data(), bytes.size())); }

std::string Sha256::finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  check(EVP_DigestFinal_ex(evp(context_), digest, &length));
  std::string hex;
  for (unsigned int idx = 0; idx < length; ++idx) hex += fmt::format("{:02x}", digest[idx]);
  return hex;
}

std::string sha256_hex(std::string_view content) {
  Sha256 hash;
  hash.update(content);
  return hash.finish();
}

}  // namespace meshseek
