// Model configs from hostile files: read, written and read again, they are the same or a ConfigError.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.hpp"
#include "config/model_config_file.hpp"
#include "config/ranges.hpp"
#include "config/serialise.hpp"
#include "modules/model/model.hpp"

using namespace meshseek;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const Tree document = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    const Tree& model = model_part_of(document, "fuzz");
    check_layer_lists(model, {}, "model");
    const auto config = from_tree<Model::Config>(model, "model");
    const Tree written = to_tree(config);
    const Tree again = to_tree(from_tree<Model::Config>(parse_json(to_json(written), "again"), "model"));
    if (to_json(again) != to_json(written)) std::abort();
    const Tree expanded = expand_tree(model);
    if (to_tree(from_tree<Model::Config>(expanded, "model")) != written) std::abort();
  } catch (const ConfigError&) {
    // The only answer to what is wrong.
  }
  return 0;
}
