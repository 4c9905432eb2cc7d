// Model configs from hostile files: read, written and read again, they are the same or a ConfigError.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/error.hpp"
#include "config/diff.hpp"
#include "config/model_config_file.hpp"
#include "config/ranges.hpp"
#include "config/serialise.hpp"
#include "modules/model/model.hpp"

namespace meshseek {
extern const std::size_t kJsonStart;
const std::size_t kJsonStart = 0;  // for json_mutator.cpp
}  // namespace meshseek

using namespace meshseek;

namespace {

/// The "model" part of a file that the program accepts; empty when it is refused with the one error that is allowed.
std::optional<Tree> accepted_model(std::string_view text) {
  try {
    const Tree document = parse_json(text, "fuzz");
    const Tree& model = model_part_of(document, "fuzz");
    check_layer_lists(model, {}, "model");
    from_tree<Model::Config>(model, "model");
    return model;
  } catch (const ConfigError&) {
    return std::nullopt;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::optional<Tree> model = accepted_model({reinterpret_cast<const char*>(data), size});
  if (!model) return 0;
  // From here on every exception is a finding: what was accepted once is accepted in every other form.
  const Tree written = to_tree(from_tree<Model::Config>(*model, "model"));
  const Tree parsed = parse_json(to_json(written), "again");
  if (parsed != written) std::abort();
  if (to_tree(from_tree<Model::Config>(parsed, "again")) != written) std::abort();
  const Tree expanded = expand_tree(*model);
  if (to_tree(from_tree<Model::Config>(expanded, "expanded")) != written) std::abort();
  if (!diff_configs(written, parsed, "written", "parsed").empty()) std::abort();
  return 0;
}
