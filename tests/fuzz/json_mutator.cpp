// The mutator of inputs that are JSON from some byte to their end.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "json_mutation.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace meshseek {
/// Where the JSON begins in an input; each target says.
extern const std::size_t kJsonStart;
}  // namespace meshseek

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned int seed) {
  using namespace meshseek;
  Random random(seed);
  if (size <= kJsonStart || below(random, 10) == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string text = mutated_json({reinterpret_cast<const char*>(data) + kJsonStart, size - kJsonStart}, random);
  if (text.empty() || text.size() + kJsonStart > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data + kJsonStart, text.data(), text.size());
  return kJsonStart + text.size();
}
