#include "stage1_convert/verify.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <mutex>

#include "base/error.hpp"
#include "base/random_access_file.hpp"
#include "base/sha256.hpp"
#include "base/stopwatch.hpp"
#include "stage1_convert/file_sums.hpp"
#include "stage1_convert/manifest.hpp"
#include "stage1_convert/staged_store.hpp"
#include "tensor/block_float.hpp"
#include "tensor/tensor_file.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// Names the part of a tensor file that holds a byte.
std::string place_in_file(const TensorFile& file, std::uint64_t offset) {
  const TensorFileHeader& header = file.header();
  if (offset < file.data_offset()) return fmt::format("byte {} in the header", offset);
  const std::uint64_t data_offset = offset - file.data_offset();
  const auto shard = std::find_if(header.shards.begin(), header.shards.end(),
                                  [&](const TensorShard& s) { return data_offset >= s.offset && data_offset < s.offset + s.size; });
  if (shard == header.shards.end()) return fmt::format("byte {}, between the shards", offset);
  const auto in_shard = static_cast<std::int64_t>(data_offset - shard->offset);
  const std::string shard_name = header.shards.size() == 1 ? "" : fmt::format("shard {}, ", shard - header.shards.begin());
  const PhysicalShape physical = physical_shape(header.shape, header.layout);
  if (header.layout == Layout::tile) {
    const std::int64_t tile = in_shard / tile_bytes(header.dtype);
    const std::int64_t tiles_wide = physical.cols / kTileSize;
    return fmt::format("byte {}: {}tile {} (rows {} to {}, columns {} to {} of the padded matrix)", offset, shard_name, tile,
                       tile / tiles_wide * kTileSize, tile / tiles_wide * kTileSize + kTileSize - 1, tile % tiles_wide * kTileSize,
                       tile % tiles_wide * kTileSize + kTileSize - 1);
  }
  const std::int64_t element = in_shard / static_cast<std::int64_t>(element_bytes(header.dtype));
  return fmt::format("byte {}: {}row {}, column {}", offset, shard_name, element / physical.cols, element % physical.cols);
}

/// A byte and by how much it differs from what was written.
struct DamagedByte {
  std::uint64_t offset = 0;
  std::int64_t change = 0;
};

/// SHA-256 that a file would have with these bytes repaired.
std::string repaired_sha256(const Path& path, std::span<const DamagedByte> damaged) {
  const RandomAccessFile file(path);
  Sha256 hash;
  std::vector<std::byte> piece(BlockSums::kBlockBytes);
  for (std::uint64_t offset = 0; offset < file.size(); offset += piece.size()) {
    const auto part = std::span(piece).first(std::min<std::uint64_t>(piece.size(), file.size() - offset));
    file.read(offset, part);
    for (const DamagedByte& byte : damaged) {
      if (byte.offset < offset || byte.offset >= offset + part.size()) continue;
      std::byte& value = part[byte.offset - offset];
      value = static_cast<std::byte>(std::to_integer<std::int64_t>(value) - byte.change);
    }
    hash.update(part);
  }
  return hash.finish();
}

std::string name_byte(const Path& path, const ManifestEntry& entry, std::uint64_t offset) {
  try {
    if (entry.description) return place_in_file(TensorFile(path), offset);
  } catch (const Error&) {
    // The header is damaged: the byte alone must do.
  }
  return fmt::format("byte {}", offset);
}

/// Where the content differs from what was written. A byte that the sums point to is believed when repairing it gives back the checksum: several
/// damaged bytes can look like one.
std::string locate_damage(const Path& path, const ManifestEntry& entry, const WrittenFile& found) {
  const std::vector<BlockSum> expected = *parse_block_sums(entry.blocks);
  std::vector<DamagedByte> bytes;
  std::vector<std::string> blocks;
  for (std::size_t block = 0; block < expected.size(); ++block) {
    if (expected[block] == found.blocks[block]) continue;
    const std::uint64_t begin = block * BlockSums::kBlockBytes;
    const std::uint64_t end = std::min<std::uint64_t>(begin + BlockSums::kBlockBytes, static_cast<std::uint64_t>(entry.bytes));
    blocks.push_back(fmt::format("several bytes from byte {} to {}", begin, end - 1));
    if (const auto byte = find_damaged_byte(expected[block], found.blocks[block])) {
      bytes.push_back({begin + *byte, static_cast<std::int64_t>(found.blocks[block].sum) - static_cast<std::int64_t>(expected[block].sum)});
    }
  }
  if (blocks.empty()) return "somewhere, in a way that keeps the block sums";
  if (bytes.size() != blocks.size() || repaired_sha256(path, bytes) != entry.sha256) return fmt::format("{}", fmt::join(blocks, "; "));
  std::vector<std::string> places;
  for (const DamagedByte& byte : bytes) places.push_back(name_byte(path, entry, byte.offset));
  return fmt::format("{}", fmt::join(places, "; "));
}

void check_header(const Path& path, const TensorDescription& description) {
  const TensorFile file(path);
  const TensorFileHeader& header = file.header();
  if (header.shape != description.shard_shape || to_string(header.dtype) != description.dtype ||
      to_string(header.layout) != description.layout) {
    throw Error(fmt::format("holds {} {} {}; the manifest says {} {} {}", to_string(header.shape), to_string(header.dtype),
                            to_string(header.layout), to_string(description.shard_shape), description.dtype, description.layout));
  }
}

/// What is wrong with one file; empty: nothing.
std::string check_file(const Path& path, const ManifestEntry& entry, const std::function<void(std::int64_t)>& on_bytes) {
  std::error_code failed;
  const auto size = fs::file_size(path, failed);
  if (failed) return "is missing";
  if (static_cast<std::int64_t>(size) != entry.bytes) return fmt::format("has {} bytes; {} were written", size, entry.bytes);
  try {
    const WrittenFile found = sums_of_file(path, on_bytes);
    if (found.sha256 != entry.sha256) return fmt::format("was changed after it was written: {}", locate_damage(path, entry, found));
    if (entry.description) check_header(path, *entry.description);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

/// Counts bytes of all threads and tells of them.
class SharedProgress {
 public:
  SharedProgress(std::int64_t num_bytes, Clock::time_point start, const std::function<void(const VerifyProgress&)>& on_progress)
      : num_bytes_(num_bytes), start_(start), on_progress_(on_progress) {}

  void add(std::int64_t bytes) {
    const std::lock_guard lock(mutex_);
    done_ += bytes;
    if (on_progress_) on_progress_({files_, done_, num_bytes_, seconds_since(start_)});
  }
  void finish_file() {
    const std::lock_guard lock(mutex_);
    ++files_;
  }
  std::int64_t done() const { return done_; }

 private:
  std::mutex mutex_;
  std::int64_t files_ = 0;
  std::int64_t done_ = 0;
  std::int64_t num_bytes_;
  Clock::time_point start_;
  const std::function<void(const VerifyProgress&)>& on_progress_;
};

void add_orphans(const Path& store, const Manifest& manifest, std::vector<StoreProblem>& problems) {
  for (const std::string& path : tensor_files_of(store)) {
    if (!manifest.files.contains(path)) problems.push_back({path, "is not in the manifest: nothing uses it; remove it"});
  }
  if (fs::exists(store / kStagingFolder)) problems.push_back({kStagingFolder, "a conversion did not finish; run `meshseek convert` again"});
}

}  // namespace

VerifyReport verify_store(const Path& store, ThreadTeam& team, const std::function<void(const VerifyProgress&)>& on_progress) {
  const auto start = Clock::now();
  if (fs::exists(store / kUnfinishedMark)) {
    throw Error(fmt::format("[{}] the conversion did not finish; run `meshseek convert` again", store.string()));
  }
  const auto manifest = read_manifest(store);
  if (!manifest) {
    throw Error(fmt::format("[{}] has no {}; expected a store written by `meshseek convert`", store.string(), kManifestFile));
  }
  std::vector<std::pair<std::string, const ManifestEntry*>> files;
  std::int64_t num_bytes = 0;
  for (const auto& [path, entry] : manifest->files) {
    files.emplace_back(path, &entry);
    num_bytes += entry.bytes;
  }
  // Large ones first and one at a time, so that no thread is left with a large one at the end.
  std::stable_sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.second->bytes > b.second->bytes; });
  SharedProgress progress(num_bytes, start, on_progress);
  std::vector<std::string> wrong(files.size());
  std::atomic<std::size_t> next = 0;
  team.parallel_for(team.size(), 1, [&](std::size_t, std::size_t) {
    for (std::size_t idx = next++; idx < files.size(); idx = next++) {
      wrong[idx] = check_file(store / files[idx].first, *files[idx].second, [&](std::int64_t bytes) { progress.add(bytes); });
      progress.finish_file();
    }
  });
  VerifyReport report = {.num_files = static_cast<std::int64_t>(files.size())};
  for (std::size_t idx = 0; idx < files.size(); ++idx) {
    if (!wrong[idx].empty()) report.problems.push_back({files[idx].first, wrong[idx]});
  }
  add_orphans(store, *manifest, report.problems);
  std::sort(report.problems.begin(), report.problems.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  report.bytes = progress.done();
  report.seconds = seconds_since(start);
  return report;
}

}  // namespace meshseek
