/// Configs of mul() and binary().
#pragma once
#include <vector>

#include "ops/common_config.hpp"

namespace meshseek {

struct MulConfig {
  static constexpr std::string_view kOp = "Mul";

  std::vector<UnaryOpType> input_tensor_a_activations = {};  ///< applied to a, in order, before the product
  std::optional<DataType> dtype = {};                        ///< of the result; unset: a's
  MemoryConfig memory_config = {};                           ///< of the result

  static constexpr auto fields() {
    return std::tuple{
        field("input_tensor_a_activations", &MulConfig::input_tensor_a_activations, "applied to a, in order, before the product"),
        field("dtype", &MulConfig::dtype, "element type of the result; unset: a's"),
        field("memory_config", &MulConfig::memory_config, "where the result lies and which core computes what")};
  }
};

enum class BinaryOpType : std::uint8_t { ADD };
constexpr auto enum_names(BinaryOpType) { return std::array<std::pair<BinaryOpType, std::string_view>, 1>{{{BinaryOpType::ADD, "ADD"}}}; }

struct BinaryConfig {
  static constexpr std::string_view kOp = "Binary";

  BinaryOpType binary_op_type = BinaryOpType::ADD;
  std::optional<DataType> dtype = {};  ///< of the result; unset: a's
  MemoryConfig memory_config = {};     ///< of the result

  static constexpr auto fields() {
    return std::tuple{field("binary_op_type", &BinaryConfig::binary_op_type, "what is computed of a and b"),
                      field("dtype", &BinaryConfig::dtype, "element type of the result; unset: a's"),
                      field("memory_config", &BinaryConfig::memory_config, "where the result lies and which core computes what")};
  }
};

}  // namespace meshseek
