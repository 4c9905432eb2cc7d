#include "stage1_convert/file_sums.hpp"

#include <algorithm>

#include "base/random_access_file.hpp"
#include "base/sha256.hpp"

namespace meshseek {

WrittenFile sums_of_file(const Path& path, const std::function<void(std::int64_t)>& on_bytes) {
  const RandomAccessFile file(path);
  const std::uint64_t size = file.size();
  Sha256 hash;
  BlockSums sums;
  std::vector<std::byte> piece(std::min<std::uint64_t>(size, BlockSums::kBlockBytes));
  for (std::uint64_t offset = 0; offset < size; offset += piece.size()) {
    const auto part = std::span(piece).first(std::min<std::uint64_t>(piece.size(), size - offset));
    file.read(offset, part);
    hash.update(part);
    sums.update(part);
    if (on_bytes) on_bytes(static_cast<std::int64_t>(part.size()));
  }
  return {.bytes = static_cast<std::int64_t>(size), .sha256 = hash.finish(), .blocks = sums.blocks()};
}

}  // namespace meshseek
