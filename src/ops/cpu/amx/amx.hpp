/// Intel AMX: the products that tiles compute, and whether this process may use tiles.
#pragma once
#include <cstdint>

#include "ops/cpu/kernels.hpp"

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

/// Whether the processor has AMX (tiles, int8, bf16), the system saves its state and has given this process permission to use it.
/// Asks once; the permission holds for all threads of the process from then on. Only when this is true may a function of extend()
/// be called.
bool is_available();

/// Whether they are chosen, and offered to tests, without being asked for by MESHSEEK_FORCE_ISA=amx.
bool is_default();

/// `base`, which must have int8_offset 0, with the products of AMX in place of its own and with those that `base` lacks.
Kernels extend(Kernels base);

}  // namespace meshseek::cpu::amx
