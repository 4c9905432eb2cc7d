/// What a conversion would write, and why: known before the first value is read.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/thread_team.hpp"
#include "hf/hf_config.hpp"
#include "modules/weight_output/weight_output.hpp"
#include "stage1_convert/manifest.hpp"

namespace meshseek {

struct ConvertOptions;
struct ConvertReport;

/// One tensor file of the plan.
struct PlannedFile {
  WeightJob job = {};
  TensorDescription description = {};
  std::vector<std::string> source_files = {};
  std::string why = {};  ///< why it is built; empty: it is there
};

/// All of them, and the weight config that names them.
struct ConversionPlan {
  std::vector<PlannedFile> files = {};
  WeightConfig model = {};  ///< layer lists are expanded
};

/// What a conversion reads from, whatever it is.
struct ConversionInput {
  const HfConfig& hf;
  const TensorSource& source;
  Path folder = {};                            ///< config.json and the tokenizer
  std::string digest = {};                     ///< for weight_config.json
  std::function<void(WeightJob&)> adopt = {};  ///< gives a job another source than the modules did; may be empty
};

/// Asks the model's modules for their tensors and the source for their identities. With Trust::content all of the source is read, on the team.
/// \throws Error: a tensor that is missing or has another shape, a dtype policy that names nothing, ...
ConversionPlan make_plan(const ConversionInput& input, const ConvertOptions& options, ThreadTeam& team);

/// Converts whatever the input is: what convert_checkpoint() and reshard_store() have in common.
ConvertReport convert_from(const ConversionInput& input, const Path& store, const ConvertOptions& options);

/// Why a file with this entry is not what the plan wants; empty when it is. The file itself is looked at by the caller.
std::string difference(const PlannedFile& planned, const ManifestEntry& entry, Trust trust);

}  // namespace meshseek
