/// Where a module's convert_weights() puts its tensors: the output path, with the element types that the conversion asks for.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.hpp"
#include "base/thread_team.hpp"
#include "config/tree.hpp"
#include "mesh/mesh_shape.hpp"
#include "tensor/tensor.hpp"

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
  ThreadTeam* team = nullptr;
  /// Called after each file with its path below the store and its size.
  std::function<void(const std::string&, std::int64_t)> on_file = {};
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

  /// Encodes and writes `<operator>.<argument>.tensorbin`; norms, biases and embeddings row-major, projections in tiles.
  /// \return the weight config entry of this argument
  Tree write(std::string_view argument, const Shape& shape, std::span<const float> values, WeightRole role) const;
  /// The same for a stack [count, ..] whose pieces are loaded one by one on the team: peak memory is the encoded file plus one piece per thread.
  Tree write_stack(std::string_view argument, const Shape& shape, const std::function<std::vector<float>(std::int64_t)>& load_piece,
                   WeightRole role) const;

  DataType dtype_of(WeightRole role) const;

 private:
  std::string file_name(std::string_view argument) const;
  Tree publish(std::string_view argument, const Shape& shape, DataType dtype, Layout layout, std::span<const std::byte> storage) const;

  const ConversionContext* context_;
  std::string folder_;       ///< real path below the store, with a trailing slash, of the operator's file
  std::string recorded_;     ///< the same with {layer}
  std::string operator_;     ///< last component
  std::string policy_path_;  ///< dotted path, for the dtype policy and for errors
};

/// The linear layer `hf_name`.weight [out, in] and, when `has_bias`, `hf_name`.bias: {"input_tensor_b": .., "bias": ..}.
Tree convert_linear(const StateDictView& state_dict, std::string_view hf_name, std::int64_t out, std::int64_t in,
                    const WeightOutput& output, WeightRole role = WeightRole::projection, bool has_bias = false);

}  // namespace meshseek
