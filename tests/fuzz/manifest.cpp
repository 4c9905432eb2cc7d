// manifest.json from hostile files: refused with an Error, or it can be written and read again.
#include "stage1_convert/manifest.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "accept.hpp"

namespace meshseek {
extern const std::size_t kJsonStart;
const std::size_t kJsonStart = 0;  // for json_mutator.cpp
}  // namespace meshseek

using namespace meshseek;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto manifest = accept([&] { return parse_manifest(text, "fuzz"); });
  if (!manifest) return kRefused;
  // From here on every exception is a finding.
  const std::string written = manifest_text(*manifest);
  if (manifest_text(parse_manifest(written, "again")) != written) std::abort();
  for (const auto& [path, entry] : manifest->files) {
    if (path.empty() || path.front() == '/' || parse_block_sums(entry.blocks)->size() > text.size()) std::abort();
  }
  return 0;
}
