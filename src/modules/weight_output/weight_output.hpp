/// Where a module's convert_weights() puts its tensors: the output path, with the element types and the mesh that the conversion asks for.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.hpp"
#include "base/thread_team.hpp"
#include "config/tree.hpp"
#include "modules/weight_output/weight_job.hpp"

namespace meshseek {

class StateDictView;

/// Operator -> argument -> {path, shape, dtype, layout, mesh, placement}; paths are relative to the store.
using WeightConfig = Tree;

/// How precisely a weight is kept.
enum class WeightRole {
  projection,  ///< the standard format: what --dtype or the policy says, TILE
  precise,     ///< bfloat16 unless everything is float32: norms, router, embedding, eh_proj
  exact,       ///< always float32: the correction bias
};

/// What one conversion has in common for all tensors.
struct ConversionContext {
  Path store = {};
  DataType dtype = DataType::bfloat8_b;  ///< of projections without a policy entry
  Tree dtype_policy = {};                ///< expanded policy below "model", or null
  MeshShape mesh = {};
  bool joins_outputs = false;  ///< as MeshDevice::joins_outputs()
  LocalRanks local = {};
  ThreadTeam* team = nullptr;
  /// Gets each tensor instead of its being written: stage 1 plans a whole model before it reads the first byte. Empty: written at once.
  std::function<void(WeightJob)> on_job = {};
};

/// One place in the weight tree. Cheap to copy; the context must outlive it.
class WeightOutput {
 public:
  /// The root: operators of the model itself.
  explicit WeightOutput(const ConversionContext& context) : context_(&context), policy_path_("model") {}

  /// The place of a child module or of an operator.
  WeightOutput sub(std::string_view name) const;
  /// The place of one element of a layer list; recorded paths say {layer}, files carry the number.
  WeightOutput layer(std::string_view list, std::int64_t layer_idx) const;

  /// `<operator>.<argument>.tensorbin`: norms, biases and embeddings row-major, projections in tiles; cut for the mesh as `split` says.
  /// \param rows all rows of the tensor: volume(shape) / shape.back() of them
  /// \return the weight config entry of this argument
  Tree write(std::string_view argument, const Shape& shape, WeightRows rows, WeightRole role, const WeightSplit& split = {}) const;

  DataType dtype_of(WeightRole role) const;

  /// How a linear layer is cut whose inputs lie over the mesh columns: split_inputs(input_unit), or split_outputs() where outputs are joined.
  WeightSplit split_product(std::int64_t input_unit = kTileSize) const;

 private:
  std::string file_name(std::string_view argument) const;

  const ConversionContext* context_;
  std::string folder_;       ///< real path below the store, with a trailing slash, of the operator's file
  std::string recorded_;     ///< the same with {layer}
  std::string operator_;     ///< last component
  std::string policy_path_;  ///< dotted path, for the dtype policy and for errors
};

/// How a linear layer [out, in] is cut: the outputs over the mesh columns (rows of the weight), or the inputs (columns of it) with a sum afterwards.
WeightSplit split_outputs(std::int64_t unit = kTileSize);
WeightSplit split_inputs(std::int64_t unit = kTileSize);

/// What the checkpoint and the mesh say of a linear layer.
struct LinearWeight {
  std::int64_t out = 0;
  std::int64_t in = 0;
  WeightSplit split = {};
  WeightRole role = WeightRole::projection;
  bool has_bias = false;
};
/// The linear layer `hf_name`.weight [out, in] and, when it has one, `hf_name`.bias: {"input_tensor_b": .., "bias": ..}. A bias goes with the outputs.
Tree convert_linear(const StateDictView& state_dict, std::string_view hf_name, const LinearWeight& linear, const WeightOutput& output);

}  // namespace meshseek
