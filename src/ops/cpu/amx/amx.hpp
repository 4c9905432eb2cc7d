/// Intel AMX: tiles, and the products that they compute. Only for processes that amx_is_permitted().
#pragma once
#include <cstdint>

#include "ops/cpu/tile_kernels.hpp"

namespace meshseek::cpu::amx {

/// The operand of ldtilecfg for palette 1: eight tiles of at most 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

const TileKernels& tile_kernels();

}  // namespace meshseek::cpu::amx
