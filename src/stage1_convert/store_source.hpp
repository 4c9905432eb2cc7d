/// A finished store as the source of a conversion.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>

#include "stage1_convert/conversion_plan.hpp"
#include "stage1_convert/manifest.hpp"
#include "tensor/tensor_file.hpp"

namespace meshseek {

/// What a store says of itself, and its tensors whole again: the pieces of all devices put together, padding left out.
///
/// Modules ask for a checkpoint's names; a store has none of them. So they plan with adopt(), which turns each of their tensors into the store's own file.
class StoreSource : public TensorSource {
 public:
  /// \throws Error, ConfigError: not a finished store, no manifest, pieces of some ranks only
  explicit StoreSource(const Path& store);

  const HfConfig& hf() const { return hf_; }
  MeshShape mesh() const { return mesh_; }
  DataType dtype() const { return dtype_; }
  const Tree& dtype_policy() const { return dtype_policy_; }
  const std::string& digest() const { return digest_; }

  /// Makes the job read the store's file of the same path. \throws Error when there is none, or its shape or dtype is another
  void adopt(WeightJob& job);

  bool contains(std::string_view name) const override;
  /// Believes the modules, and remembers the shape.
  void check(std::string_view name, const Shape& expected) const override { shapes_.insert_or_assign(std::string(name), expected); }
  /// The shape that a tensor of the checkpoint has, once the modules have asked for it.
  const Shape& shape_of(const std::string& name) const { return shapes_.at(name); }
  void read(std::string_view name, const MatrixPart& part, std::span<float> out) const override;
  std::string identity(std::string_view name, Trust trust) const override;
  std::string file_of(std::string_view name) const override { return std::string(name); }

 private:
  /// A file of the store and how it is cut.
  struct StoredTensor {
    TensorFile file;
    WeightJob job = {};
    WeightPieces pieces = {};
  };
  void find_own_mtp_tensors(const Tree& model);
  void find_splits(bool joins_outputs);

  Path store_;
  HfConfig hf_;
  MeshShape mesh_;
  DataType dtype_ = DataType::bfloat8_b;
  Tree dtype_policy_ = {};
  std::string digest_ = {};
  Manifest manifest_;
  std::set<std::string, std::less<>> own_tensors_;  ///< names that modules ask for before they use them
  mutable std::map<std::string, Shape> shapes_;     ///< filled while modules plan, by one thread
  std::map<std::string, WeightSplit> splits_;       ///< by file: how this store is cut
  std::map<std::string, StoredTensor, std::less<>> tensors_;
};

}  // namespace meshseek
