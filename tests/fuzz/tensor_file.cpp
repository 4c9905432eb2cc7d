// Tensor files from hostile hands: refused with an Error, or every shard can be read to its last byte and the header written again.
#include "tensor/tensor_file.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "accept.hpp"

using namespace meshseek;

namespace {

using Bytes = std::vector<std::byte>;

TensorFile open(const std::shared_ptr<const Bytes>& bytes) { return {"fuzz", *bytes, bytes}; }

/// Shards may share bytes; a hostile header has thousands of them, so that each place is read once.
void check_shards(const TensorFile& file) {
  constexpr std::size_t kMostShards = 8;
  std::set<std::uint64_t> seen;
  for (std::size_t shard_idx = 0; shard_idx < file.header().shards.size(); ++shard_idx) {
    const Tensor tensor = file.shard(shard_idx);
    if (tensor.bytes().size() != file.header().shards[shard_idx].size) std::abort();
    if (seen.size() >= kMostShards || !seen.insert(file.header().shards[shard_idx].offset).second) continue;
    touch(tensor.bytes());
    if (to_float_vector(tensor).size() != static_cast<std::size_t>(tensor.volume())) std::abort();
  }
}

/// What was read is written and read again: nothing of it may change.
void check_rewritten(const TensorFile& file, const Bytes& bytes, std::size_t data_begin) {
  const Bytes head = serialise_header(file.header());
  const std::uint64_t size = head.size();
  const auto data = std::span(bytes).subspan(data_begin);
  auto written = std::make_shared<Bytes>(sizeof(size) + head.size() + data.size());
  std::memcpy(written->data(), &size, sizeof(size));
  std::ranges::copy(data, std::ranges::copy(head, written->begin() + sizeof(size)).out);
  const TensorFile again = open(written);
  const TensorFileHeader& before = file.header();
  const TensorFileHeader& after = again.header();
  const bool same = before.shape == after.shape && before.dtype == after.dtype && before.layout == after.layout &&
                    before.memory_config == after.memory_config && before.alignment == after.alignment &&
                    before.mesh_shape == after.mesh_shape && before.distribution_shape == after.distribution_shape &&
                    before.placements == after.placements && before.mesh_coords == after.mesh_coords &&
                    before.shards.size() == after.shards.size();
  if (!same || !std::ranges::equal(file.shard().bytes(), again.shard().bytes())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto span = std::as_bytes(std::span(data, size));
  const auto bytes = std::make_shared<const Bytes>(span.begin(), span.end());
  const auto file = accept([&] { return open(bytes); });
  if (!file) return kRefused;
  // From here on every exception is a finding.
  check_shards(*file);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes->data(), sizeof(header));
  check_rewritten(*file, *bytes, sizeof(header) + header);
  return 0;
}
