/// manifest.json: what every file of a store was made of and what is in it. It is the last file that a conversion writes.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/mapped_file.hpp"
#include "config/fields.hpp"
#include "config/tree.hpp"
#include "modules/weight_output/weight_writer.hpp"

namespace meshseek {

/// The canonical description of a tensor file: two equal descriptions give equal bytes.
struct TensorDescription {
  std::vector<std::int64_t> shape = {};        ///< of the whole tensor
  std::vector<std::int64_t> shard_shape = {};  ///< of each device's piece
  std::string dtype = {};
  std::string layout = {};
  std::string mesh = {};
  std::vector<std::string> placement = {};
  std::string ranks = "all";        ///< whose pieces the file holds: "all" or "4-7"
  std::int64_t transform = 0;       ///< version of the way from source rows to bytes
  std::string sources_sha256 = {};  ///< names and rows of the source tensors
  std::string size_mtime = {};      ///< SHA-256 of the sources' identities by size and time
  std::string content = {};         ///< the same by content; empty when that was not asked for

  static constexpr auto fields() {
    return std::tuple{field("shape", &TensorDescription::shape, "of the whole tensor"),
                      field("shard_shape", &TensorDescription::shard_shape, "of each device's piece, padded"),
                      field("dtype", &TensorDescription::dtype, "element type"),
                      field("layout", &TensorDescription::layout, "TILE or ROW_MAJOR"),
                      field("mesh", &TensorDescription::mesh, "rows x columns"),
                      field("placement", &TensorDescription::placement, "over mesh rows and columns"),
                      field("ranks", &TensorDescription::ranks, "whose pieces the file holds"),
                      field("transform", &TensorDescription::transform, "version of the way from source rows to bytes"),
                      field("sources_sha256", &TensorDescription::sources_sha256, "names and rows of the source tensors"),
                      field("size_mtime", &TensorDescription::size_mtime, "SHA-256 of the sources' names, sizes and times"),
                      field("content", &TensorDescription::content, "SHA-256 of the sources' contents; empty: not asked for")};
  }
};

/// One file of the store.
struct ManifestEntry {
  std::int64_t bytes = 0;
  std::string sha256 = {};              ///< of the content
  std::string blocks = {};              ///< see to_hex(BlockSum): finds a damaged byte
  std::string description_sha256 = {};  ///< of the description as one line of JSON
  std::vector<std::string> source_files = {};
  std::optional<TensorDescription> description = {};  ///< absent: a file that was only copied

  static constexpr auto fields() {
    return std::tuple{field("bytes", &ManifestEntry::bytes, "size"),
                      field("sha256", &ManifestEntry::sha256, "of the content"),
                      field("blocks", &ManifestEntry::blocks, "sum and weighted sum of the bytes of each MiB"),
                      field("description_sha256", &ManifestEntry::description_sha256, "of the description"),
                      field("source_files", &ManifestEntry::source_files, "files of the source"),
                      field("description", &ManifestEntry::description, "what the file was made of")};
  }
};

struct Manifest {
  std::int64_t converter_version = 0;
  std::map<std::string, ManifestEntry> files = {};  ///< by path below the store
};

inline constexpr const char* kManifestFile = "manifest.json";

/// \throws ConfigError naming file and field: not JSON, unknown or missing keys, wrong types, another format_version, a path that leaves the store.
Manifest parse_manifest(std::string_view text, const std::string& where);
std::string manifest_text(const Manifest& manifest);
/// The manifest of a store; empty when there is none. \throws as parse_manifest()
std::optional<Manifest> read_manifest(const Path& store);

/// The entry of a file that has been written.
ManifestEntry entry_of(const WrittenFile& file);
/// The entry of a file that was copied: its content is read.
ManifestEntry entry_of_copy(const Path& path);

/// The description without the sources' identities, which need the source.
TensorDescription describe(const WeightJob& job);
/// SHA-256 of the canonical form.
std::string sha256_of(const TensorDescription& description);

}  // namespace meshseek
