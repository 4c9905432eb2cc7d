/// `.tensorbin` files, byte-compatible with TTNN 0.81.1: u64 header size, FlatBuffers header, shard data at multiples of 64 bytes.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.hpp"
#include "tensor/memory_config.hpp"
#include "tensor/tensor.hpp"

namespace meshseek {

/// How one mesh dimension maps to the tensor: replicate, or shard along a tensor dimension.
struct Placement {
  std::optional<std::int32_t> shard_dim = {};  ///< empty: replicate
  friend bool operator==(const Placement&, const Placement&) = default;
};

/// One device's piece: its mesh coordinate and where its bytes lie in the data region.
struct TensorShard {
  std::vector<std::uint32_t> mesh_coordinate = {};
  std::uint64_t offset = 0;  ///< bytes from the start of the data region; replicas share an offset
  std::uint64_t size = 0;    ///< bytes
};

/// Everything the header says. `shape` is the logical shape of ONE shard.
struct TensorFileHeader {
  Shape shape = {};
  DataType dtype = DataType::bfloat8_b;
  Layout layout = Layout::tile;
  MemoryConfig memory_config = {};
  std::vector<std::uint32_t> alignment = {};    ///< as stored, e.g. {32, 32}; {1} row-major
  std::vector<std::uint32_t> mesh_shape = {1};  ///< as stored
  std::vector<TensorShard> shards = {};
  std::vector<std::uint32_t> distribution_shape = {1};
  std::vector<Placement> placements = {Placement{}};
  std::vector<std::vector<std::uint32_t>> mesh_coords = {};
};

/// FlatBuffers header exactly as TTNN writes it, zero-padded so that (8 + size) % 64 == 0. Does not contain the 8 size bytes.
std::vector<std::byte> serialise_header(const TensorFileHeader& header);

/// An opened, validated, mapped file. Cheap; pages are read on use.
class TensorFile {
 public:
  /// \throws Error naming the path: short file, corrupted or misaligned header, no mesh shape, truncated data, a size that does not fit the shape,
  /// a shard outside of the mesh, an unknown element type, layout or memory config.
  explicit TensorFile(const Path& path);
  /// The same for a file that lies in memory, at a multiple of 8 bytes; `keep_alive` owns `bytes`, and errors name `path`.
  TensorFile(const Path& path, std::span<const std::byte> bytes, std::shared_ptr<const void> keep_alive);

  const TensorFileHeader& header() const { return header_; }
  /// The tensor of shard `shard_idx`, sharing the bytes of the file (no copy).
  Tensor shard(std::size_t shard_idx = 0) const;
  std::uint64_t data_offset() const { return data_begin_; }  ///< of the data region in the file
  /// Reads the whole file into memory now; see meshseek::prefault().
  void prefault() const { meshseek::prefault(bytes_); }
  std::uint64_t file_bytes() const { return bytes_.size(); }
  const Path& path() const { return path_; }

 private:
  explicit TensorFile(const std::shared_ptr<const MappedFile>& file);

  Path path_;
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
  TensorFileHeader header_;
  std::size_t data_begin_ = 0;
};

/// Where the parts of a file lie, before any data are there.
struct TensorFilePlan {
  std::vector<std::byte> head = {};         ///< size field and header
  std::vector<std::uint64_t> offsets = {};  ///< of each buffer, from the start of the file
  std::uint64_t buffer_bytes = 0;           ///< of one buffer: all are equal
  std::uint64_t file_bytes = 0;
};
/// Lays out `num_buffers` distinct shard buffers, each of storage_bytes(header.shape, ..); shard i uses buffer buffer_of_shard[i].
/// \throws Error, ShapeError as write_tensor_file()
TensorFilePlan plan_tensor_file(const Path& path, TensorFileHeader header, std::size_t num_buffers,
                                std::span<const std::size_t> buffer_of_shard);

/// Writes one tensor for a 1x1 mesh with TTNN's default topology, atomically (see write_file_atomically).
void write_tensor_file(const Path& path, const Shape& shape, DataType dtype, Layout layout, std::span<const std::byte> storage,
                       const MemoryConfig& memory_config = {});
/// Writes a header and distinct shard buffers as given; offsets and sizes in `header.shards` are filled in here: shard i uses buffers[buffer_of_shard[i]].
/// \throws Error on an empty buffer or an index without a buffer, ShapeError on a buffer whose size does not fit the shape.
void write_tensor_file(const Path& path, TensorFileHeader header, std::span<const std::span<const std::byte>> buffers,
                       std::span<const std::size_t> buffer_of_shard);

}  // namespace meshseek
