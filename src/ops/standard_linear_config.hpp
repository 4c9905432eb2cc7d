/// The standard configs of matrix products in prefill and in decode, and of what follows them. Pure arithmetic, used by stage 2.
#pragma once
#include <utility>

#include "ops/linear_config.hpp"
#include "tensor/shape.hpp"

namespace meshseek {

/// Largest result of one token that decode keeps in L1: an eighth of the device's.
inline bool fits_l1(std::int64_t values, const DeviceDescription& device) {
  const std::int64_t l2_bytes = device.l2_bytes > 0 ? device.l2_bytes : matmul_program_config::kDefaultL2Bytes;
  return values * 4 <= device.num_cores * l2_bytes / 8;
}

/// Inputs of a matrix, or of each of a stack.
inline std::int64_t inputs_of(const LinearConfig& config) {
  const std::vector<std::int64_t>& stored = config.input_tensor_b.shape;
  return stored[stored.size() - (config.transpose_b ? 1 : 2)];
}

/// Whether products of many rows have panels there (cpu/tile_kernels.hpp): tiles, or integers that are faster than float32.
inline bool has_panels(const DeviceDescription& device) {
  return device.isa == "amx" || device.isa == "avx512_vnni" || device.isa == "avx2";
}

/// Many rows, their number known at run time: the rule makes the program, results go to main memory.
/// \param shape of the stored weight: [out, in] or [matrices, out, in]; the last two swapped when !transpose_b
inline LinearConfig prefill_linear_config(Shape shape, MathFidelity fidelity, const DeviceDescription& device, bool transpose_b = true) {
  LinearConfig config;
  config.input_tensor_b.shape = std::move(shape);
  config.transpose_b = transpose_b;
  const std::int64_t k = inputs_of(config);
  const bool on_tiles = has_panels(device) && transpose_b && fidelity != MathFidelity::HiFi4;
  config.program_rule = on_tiles ? tile_program_rule(k, device) : matmul_program_rule(k, device);
  config.compute_kernel_config.math_fidelity = fidelity;
  return config;
}

/// For decode: not on tiles, so that a sequence keeps the bits that it has alone in a batch of any size, and weights are multiplied where they lie.
inline LinearConfig without_tiles(LinearConfig config, const DeviceDescription& device) {
  config.program_rule = matmul_program_rule(inputs_of(config), device);
  return config;
}

/// One row or a few: one matrix is streamed by a fixed number of cores, each writing its columns into L1. A stack keeps the rule, because the number of its
/// pieces is known at run time only.
inline LinearConfig decode_linear_config(Shape shape, MathFidelity fidelity, const DeviceDescription& device, bool transpose_b = true) {
  LinearConfig config = without_tiles(prefill_linear_config(std::move(shape), fidelity, device, transpose_b), device);
  const std::vector<std::int64_t>& stored = config.input_tensor_b.shape;
  const std::int64_t k = inputs_of(config);
  const std::int64_t n = stored[stored.size() - (transpose_b ? 2 : 1)];
  const bool is_stack = stored.size() > 2;
  if (fits_l1(is_stack ? stored[0] * n : n, device)) config.memory_config.buffer_type = BufferType::L1;
  if (is_stack) return config;
  config.program_rule.reset();
  config.program_config = decode_matmul_program(k, n, device);
  const std::int64_t cores = num_cores(*config.program_config, n);
  if (cores == 1) return config;
  const std::int64_t width =
      std::visit([](const auto& program) { return program.per_core_N * matmul_program_config::kTile; }, *config.program_config);
  config.memory_config.memory_layout = TensorMemoryLayout::WIDTH_SHARDED;
  config.memory_config.shard_spec = ShardSpec{.grid = {{.start = {0, 0}, .end = {static_cast<std::int32_t>(cores - 1), 0}}},
                                              .shape = {matmul_program_config::kTile, static_cast<std::uint32_t>(width)}};
  return config;
}

}  // namespace meshseek
