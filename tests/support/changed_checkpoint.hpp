/// A checkpoint that differs from another one in nothing but a weight.
#pragma once
#include <filesystem>
#include <fstream>

namespace meshseek::testing {

/// Copies a checkpoint to `to`, which must not be there, and changes a bit of the last weight.
inline void copy_with_another_weight(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::filesystem::copy(from, to);
  for (const auto& entry : std::filesystem::directory_iterator(to)) {
    if (entry.path().extension() != ".safetensors") continue;
    std::fstream file(entry.path(), std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(-1, std::ios::end);
    const char last = static_cast<char>(file.peek() ^ 1);  // the exponent's lowest bit but one
    file.seekp(-1, std::ios::end);
    file.put(last);
  }
}

}  // namespace meshseek::testing
