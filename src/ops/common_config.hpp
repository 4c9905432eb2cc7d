/// Parts that several operator configs share.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "config/fields.hpp"
#include "tensor/memory_config.hpp"
#include "tensor/tensor.hpp"

namespace meshseek {

constexpr auto enum_names(DataType) {
  return std::array<std::pair<DataType, std::string_view>, 8>{{{DataType::bfloat16, "bfloat16"},
                                                               {DataType::float32, "float32"},
                                                               {DataType::uint32, "uint32"},
                                                               {DataType::bfloat8_b, "bfloat8_b"},
                                                               {DataType::bfloat4_b, "bfloat4_b"},
                                                               {DataType::uint8, "uint8"},
                                                               {DataType::uint16, "uint16"},
                                                               {DataType::int32, "int32"}}};
}

/// How exact the multiplications are. Accumulation is always float32.
enum class MathFidelity : std::uint8_t {
  LoFi =
      0,  ///< int8 activations x block mantissas, int32 sums: one scale per 16 values along k (on panels 512 or, as int16, 128); block-float weights only
  HiFi2 = 2,  ///< bf16 x bf16
  HiFi4 = 4,  ///< float32 x float32
};

constexpr auto enum_names(MathFidelity) {
  return std::array<std::pair<MathFidelity, std::string_view>, 3>{
      {{MathFidelity::LoFi, "LoFi"}, {MathFidelity::HiFi2, "HiFi2"}, {MathFidelity::HiFi4, "HiFi4"}}};
}

struct ComputeKernelConfig {
  MathFidelity math_fidelity = MathFidelity::HiFi2;
  bool fp32_dest_acc_en = true;  ///< false is refused: there is no other accumulator

  static constexpr auto fields() {
    return std::tuple{
        field("math_fidelity", &ComputeKernelConfig::math_fidelity,
              "HiFi4: float32 products; HiFi2: bf16 x bf16; LoFi: int8 activations x block mantissas, block-float weights only"),
        field("fp32_dest_acc_en", &ComputeKernelConfig::fp32_dest_acc_en, "sums are float32; only true exists")};
  }
  friend bool operator==(const ComputeKernelConfig&, const ComputeKernelConfig&) = default;
};

/// Functions of one value, applied before or after another operator.
enum class UnaryOpType : std::uint8_t { SILU, SIGMOID };
constexpr auto enum_names(UnaryOpType) {
  return std::array<std::pair<UnaryOpType, std::string_view>, 2>{{{UnaryOpType::SILU, "SILU"}, {UnaryOpType::SIGMOID, "SIGMOID"}}};
}

/// The element type of an operator's result when its config does not say: float32 for HiFi4, bfloat16 otherwise.
constexpr DataType activation_dtype(const ComputeKernelConfig& compute) {
  return compute.math_fidelity == MathFidelity::HiFi4 ? DataType::float32 : DataType::bfloat16;
}

/// Placeholder of a weight: stage 2 writes the expected shape, create_run_config() fills in the tensor.
struct WeightSlot {
  std::vector<std::int64_t> shape = {};  ///< logical shape of this device's piece

  Tensor tensor = {};  ///< loaded at run time, never serialised

  static constexpr auto fields() { return std::tuple{field("shape", &WeightSlot::shape, "expected logical shape")}; }
};

}  // namespace meshseek
