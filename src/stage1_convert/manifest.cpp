#include "stage1_convert/manifest.hpp"

#include <fmt/format.h>

#include <array>
#include <filesystem>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/random_access_file.hpp"
#include "base/sha256.hpp"
#include "config/names.hpp"
#include "config/serialise.hpp"

namespace meshseek {
namespace {

constexpr std::int64_t kManifestFormat = 1;
constexpr std::size_t kMaxManifestBytes = std::size_t{1} << 30;
constexpr std::int64_t kMaxFileBytes = std::int64_t{1} << 50;
constexpr std::size_t kSha256Digits = 64;

const Tree& member(const Tree& document, const char* key, const std::string& where) {
  const Tree* found = document.find(key);
  if (found == nullptr) throw ConfigError(fmt::format("[{}] has no \"{}\"; convert again with --force", where, key));
  return *found;
}

void check_digest(const std::string& digest, const std::string& where) {
  const bool is_hex = digest.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (digest.size() == kSha256Digits && is_hex) return;
  throw ConfigError(
      fmt::format("[{}] {} is no SHA-256; expected 64 hexadecimal digits; convert again with --force", where, in_quotes(digest)));
}

void check_path(const std::string& path, const std::string& where) {
  const Path relative(path);
  bool leaves = relative.empty() || relative.is_absolute();
  for (const Path& part : relative) leaves = leaves || part == "..";
  if (leaves) throw ConfigError(fmt::format("[{}] the path {} leaves the store; expected one below it", where, in_quotes(path)));
}

ManifestEntry parse_entry(const Tree& tree, const std::string& where) {
  ManifestEntry entry = from_tree<ManifestEntry>(tree, where);
  check_digest(entry.sha256, where + ".sha256");
  if (entry.bytes < 0 || entry.bytes > kMaxFileBytes) {
    throw ConfigError(
        fmt::format("[{}.bytes] {} is no size; expected 0 to {}; convert again with --force", where, entry.bytes, kMaxFileBytes));
  }
  const auto blocks = parse_block_sums(entry.blocks);
  const std::int64_t num_blocks = ceil_div(entry.bytes, static_cast<std::int64_t>(BlockSums::kBlockBytes));
  if (!blocks || static_cast<std::int64_t>(blocks->size()) != num_blocks) {
    throw ConfigError(
        fmt::format("[{}.blocks] is no list of {} block sums of 20 hexadecimal digits; convert again with --force", where, num_blocks));
  }
  if (entry.description && sha256_of(*entry.description) != entry.description_sha256) {
    throw ConfigError(fmt::format("[{}.description_sha256] does not belong to the description; convert again with --force", where));
  }
  return entry;
}

}  // namespace

Manifest parse_manifest(std::string_view text, const std::string& where) {
  const Tree document = parse_json(text, where);
  static constexpr std::array<std::string_view, 3> kKeys = {"format_version", "converter_version", "files"};
  serialise::check_keys(document, where, {}, false, kKeys);
  const std::int64_t version = member(document, "format_version", where).as_integer(where + " format_version");
  if (version != kManifestFormat) {
    throw ConfigError(fmt::format("[{}] has format_version {}; this program reads version {}; convert again with --force", where, version,
                                  kManifestFormat));
  }
  Manifest manifest;
  manifest.converter_version = member(document, "converter_version", where).as_integer(where + " converter_version");
  for (const auto& [path, entry] : member(document, "files", where).as_object(where + " files")) {
    check_path(path, where);
    manifest.files.emplace(path, parse_entry(entry, fmt::format("{} {}", where, path)));
  }
  return manifest;
}

std::string manifest_text(const Manifest& manifest) {
  Tree files(Tree::Object{});
  for (const auto& [path, entry] : manifest.files) files.object().emplace_back(path, to_tree(entry));
  Tree document;
  document.set("format_version", Tree(kManifestFormat));
  document.set("converter_version", Tree(manifest.converter_version));
  document.set("files", std::move(files));
  return to_json(document);
}

std::optional<Manifest> read_manifest(const Path& store) {
  const Path path = store / kManifestFile;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return parse_manifest(read_text_file(path, kMaxManifestBytes), path.string());
}

ManifestEntry entry_of(const WrittenFile& file) { return {.bytes = file.bytes, .sha256 = file.sha256, .blocks = to_hex(file.blocks)}; }

ManifestEntry entry_of_copy(const Path& path) {
  const std::string content = read_text_file(path);
  BlockSums sums;
  sums.update(std::as_bytes(std::span(content)));
  return {.bytes = static_cast<std::int64_t>(content.size()), .sha256 = sha256_hex(content), .blocks = to_hex(sums.blocks())};
}

TensorDescription describe(const WeightJob& job) {
  std::string sources;
  for (const SourceRows& rows : job.source.rows) sources += fmt::format("{} {} {}\n", rows.tensor, rows.first_row, rows.num_rows);
  return {.shape = job.shape,
          .shard_shape = pieces_of(job).shape,
          .dtype = std::string(to_string(job.dtype)),
          .layout = std::string(to_string(job.layout)),
          .mesh = to_string(job.mesh),
          .placement = placement_of(job.split),
          .ranks = job.local.count == 0 ? "all" : fmt::format("{}-{}", job.local.first, job.local.first + job.local.count - 1),
          .transform = kTransformVersion,
          .sources_sha256 = sha256_hex(sources)};
}

std::string sha256_of(const TensorDescription& description) { return sha256_hex(to_json_line(to_tree(description))); }

}  // namespace meshseek
