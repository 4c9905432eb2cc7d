#include "base/error.hpp"

namespace meshseek {
namespace {

constexpr std::size_t kMaxBytes = 1900;
constexpr std::size_t kLastBytes = 400;  // what to do stands at the end

}  // namespace

std::string one_line(std::string message) {
  for (char& c : message) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  if (message.size() > kMaxBytes) message.replace(kMaxBytes - kLastBytes, message.size() - kMaxBytes, " ... ");
  return message;
}

}  // namespace meshseek
