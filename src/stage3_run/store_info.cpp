#include "stage3_run/store_info.hpp"

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <string_view>

#include "base/error.hpp"
#include "base/file.hpp"
#include "config/serialise.hpp"

namespace meshseek {
namespace {

constexpr const char* kWeightConfig = "weight_config.json";
constexpr const char* kUnfinishedMark = "conversion_unfinished";

const Tree& member(const Tree& document, const char* key, const std::string& where) {
  const Tree* found = document.find(key);
  if (found == nullptr) throw ConfigError(fmt::format("[{}] has no \"{}\"; convert the store again", where, key));
  return *found;
}

}  // namespace

bool looks_like_store(const Path& folder) {
  return std::filesystem::exists(folder / kWeightConfig) || std::filesystem::exists(folder / kUnfinishedMark);
}

StoreInfo read_store_info(const Path& store) {
  const Path path = store / kWeightConfig;
  if (std::filesystem::exists(store / kUnfinishedMark)) {
    throw Error(fmt::format("[{}] the conversion did not finish; run `meshseek convert` again", store.string()));
  }
  if (!std::filesystem::exists(path)) {
    throw Error(fmt::format("[{}] has no weight_config.json; expected a store written by `meshseek convert`", store.string()));
  }
  const std::string where = path.string();
  const Tree document = parse_json(read_text_file(path), where);
  const std::int64_t version = member(document, "format_version", where).as_integer(where + " format_version");
  if (version != kWeightConfigVersion) {
    throw Error(fmt::format("[{}] has format_version {}; this program reads version {}; convert the checkpoint again", where, version,
                            kWeightConfigVersion));
  }
  static constexpr std::array<std::string_view, 8> kKeys = {"format_version", "converter_version", "source_digest", "mesh", "deterministic",
                                                            "dtype",          "dtype_policy",      "model"};
  serialise::check_keys(document, where, {}, false, kKeys);
  return {.mesh = parse_mesh_shape(member(document, "mesh", where).as_string(where + " mesh")),
          .deterministic = document.flag("deterministic", where),
          .dtype = parse_dtype(member(document, "dtype", where).as_string(where + " dtype")),
          .weight_config = member(document, "model", where)};
}

}  // namespace meshseek
