#include "stage1_convert/conversion_plan.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/sha256.hpp"
#include "hf/state_dict_view.hpp"
#include "modules/model/model.hpp"
#include "stage1_convert/convert.hpp"
#include "stage1_convert/dtype_policy.hpp"

namespace meshseek {
namespace {

std::string identity_of(const WeightRows& source, Trust trust) {
  std::string identity;
  const std::string* last = nullptr;
  for (const SourceRows& rows : source.rows) {
    // The heads of a tensor are many ranges of its rows.
    if (last != nullptr && *last == rows.tensor) continue;
    identity += source.source->identity(rows.tensor, trust) + "\n";
    last = &rows.tensor;
  }
  return sha256_hex(identity);
}

std::vector<std::string> files_of(const WeightRows& source) {
  std::vector<std::string> files;
  for (const SourceRows& rows : source.rows) files.push_back(source.source->file_of(rows.tensor));
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  return files;
}

template <class T>
std::string changed(const char* what, const T& from, const T& to) {
  return from == to ? "" : fmt::format("{} {} -> {}", what, from, to);
}

}  // namespace

ConversionPlan make_plan(const ConversionInput& input, const ConvertOptions& options, ThreadTeam& team) {
  ConversionPlan plan;
  ConversionContext context = {.dtype = options.dtype,
                               .dtype_policy = read_dtype_policy(options.dtype_policy, input.hf),
                               .mesh = options.mesh,
                               .joins_outputs = options.joins_outputs(),
                               .local = options.local};
  context.on_job = [&](WeightJob job) {
    if (input.adopt) input.adopt(job);
    plan.files.push_back({.job = std::move(job)});
  };
  plan.model = Model::convert_weights(input.hf, StateDictView(input.source), WeightOutput(context), options.mesh);
  team.parallel_for(plan.files.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (PlannedFile& file : std::span(plan.files).subspan(begin, end - begin)) {
      file.description = describe(file.job);
      file.description.size_mtime = identity_of(file.job.source, Trust::size_mtime);
      if (options.trust == Trust::content) file.description.content = identity_of(file.job.source, Trust::content);
      file.source_files = files_of(file.job.source);
    }
  });
  return plan;
}

std::string difference(const PlannedFile& planned, const ManifestEntry& entry, Trust trust) {
  const TensorDescription& wanted = planned.description;
  if (!entry.description) return "it was not made by a conversion";
  const TensorDescription& made = *entry.description;
  const std::string reasons[] = {
      changed("dtype", made.dtype, wanted.dtype),
      changed("layout", made.layout, wanted.layout),
      changed("shape", to_string(made.shape), to_string(wanted.shape)),
      changed("mesh", made.mesh, wanted.mesh),
      changed("placement", fmt::format("{}", fmt::join(made.placement, ", ")), fmt::format("{}", fmt::join(wanted.placement, ", "))),
      changed("shard shape", to_string(made.shard_shape), to_string(wanted.shard_shape)),
      changed("ranks", made.ranks, wanted.ranks),
      changed("converter version", made.transform, wanted.transform)};
  for (const std::string& reason : reasons) {
    if (!reason.empty()) return reason;
  }
  if (made.sources_sha256 != wanted.sources_sha256) return "made from other source tensors";
  const std::string files = fmt::format("{}", fmt::join(planned.source_files, ", "));
  if (trust == Trust::size_mtime) return made.size_mtime == wanted.size_mtime ? "" : fmt::format("the source changed ({})", files);
  if (made.content.empty()) return "its source was known by size and time only";
  return made.content == wanted.content ? "" : fmt::format("the source changed ({})", files);
}

}  // namespace meshseek
