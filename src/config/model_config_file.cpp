#include "config/model_config_file.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "base/error.hpp"
#include "config/serialise.hpp"

namespace meshseek {

const Tree& model_part_of(const Tree& document, const std::string& where) {
  static constexpr std::array<std::string_view, 6> kKeys = {"format_version", "mode", "mesh", "deterministic", "device", "model"};
  serialise::check_keys(document, where, {}, false, kKeys);
  for (const char* key : {"format_version", "mode", "mesh", "model"}) {
    if (document.find(key) == nullptr) {
      throw ConfigError(fmt::format("[{}] has no \"{}\"; expected a file written by `meshseek configure`", where, key));
    }
  }
  if (const Tree* deterministic = document.find("deterministic")) deterministic->as_bool(where + " deterministic");
  if (const Tree* device = document.find("device")) {
    static constexpr std::array<std::string_view, 3> kDeviceKeys = {"num_cores", "l2_bytes", "isa"};
    const std::string device_where = where + " device";
    serialise::check_keys(*device, device_where, {}, false, kDeviceKeys);
    const Tree* num_cores = device->find("num_cores");
    if (num_cores == nullptr)
      throw ConfigError(fmt::format("[{}] has no \"num_cores\"; expected the cores the config was made for", device_where));
    if (num_cores->as_integer(device_where + " num_cores") < 1)
      throw ConfigError(fmt::format("[{} num_cores] expected at least 1", device_where));
  }
  const std::int64_t version = document.find("format_version")->as_integer(where + " format_version");
  if (version != kModelConfigVersion) {
    throw ConfigError(
        fmt::format("[{}] has format_version {}; this program reads version {}; configure again", where, version, kModelConfigVersion));
  }
  return *document.find("model");
}

}  // namespace meshseek
