#include <fmt/format.h>

#include <filesystem>

#include "base/file.hpp"
#include "base/sha256.hpp"
#include "hf/state_dict.hpp"
#include "stage1_convert/convert.hpp"

namespace meshseek {

std::string conversion_digest(const Path& checkpoint, const ConvertOptions& options) {
  const HfConfig hf = read_hf_config(checkpoint);
  const StateDict state_dict(checkpoint, hf);
  std::string identity = fmt::format("converter {}\nmesh {}\ndtype {}\npolicy {}\n", kConverterVersion, to_string(options.mesh),
                                     to_string(options.dtype), to_json_line(options.dtype_policy));
  if (options.joins_outputs()) identity += "deterministic\n";
  identity += std::filesystem::canonical(checkpoint).string() + "\n";
  identity += read_text_file(checkpoint / "config.json");
  for (const Path& file : state_dict.files()) identity += file_identity(file) + "\n";
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}) {
    if (std::filesystem::exists(checkpoint / name)) identity += file_identity(checkpoint / name) + "\n";
  }
  return sha256_hex(identity);
}

}  // namespace meshseek
