#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

#include "base/amx_permission.hpp"
#include "base/error.hpp"
#include "ops/cpu/amx/amx.hpp"
#include "ops/cpu/gemv_tables.hpp"
#include "ops/cpu/kernels_tables.hpp"

namespace meshseek::cpu {

namespace {

constexpr int kMaxTables = 6;

Kernels with_panels(Kernels loops, const TileKernels& panels) {
  loops.tiles = &panels;
  return loops;
}

/// The loops of `base`, and tiles.
const Kernels& amx_table(const Kernels& base) {
  static const Kernels table = [&] {
    Kernels with_tiles = base;
    with_tiles.isa = "amx";
    with_tiles.tiles = &amx::tile_kernels();
    return with_tiles;
  }();
  return table;
}

/// Appends those of AVX2 and AVX-512 that this machine can run; returns the number of tables.
int find_vectors(const Kernels** tables, int count) {
  static const Kernels avx2_table = with_panels(avx2::kTable, avx2::kPanelKernels);
  static const Kernels avx2_vnni_table = with_panels(avx2_vnni::kTable, avx2::kPanelKernels);
  static const Kernels avx512_vnni_table = with_panels(avx512_vnni::kTable, avx512_vnni::kPanelKernels);
  const bool has_avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  if (!has_avx2) return count;
  tables[count++] = &avx2_table;
  if (__builtin_cpu_supports("avxvnni") != 0) tables[count++] = &avx2_vnni_table;
  const bool has_avx512 = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                          __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
  if (!has_avx512) return count;
  tables[count++] = &avx512::kTable;
  if (__builtin_cpu_supports("avx512vnni") != 0) tables[count++] = &avx512_vnni_table;
  return count;
}

/// Fills `tables` (at least kMaxTables) with those that this machine can run, worst first; returns their number. Tiles may be emulated on any machine.
int find_all(const Kernels** tables) {
  tables[0] = &scalar::kTable;
  const int count = find_vectors(tables, 1);
  if (!amx_is_permitted()) return count;
  tables[count] = &amx_table(*tables[count - 1]);
  return count + 1;
}

}  // namespace

const Kernels* kernels_at(int idx) {
  const Kernels* tables[kMaxTables] = {};
  return idx < find_all(tables) ? tables[idx] : nullptr;
}

const Kernels* find_kernels(const char* isa) {
  const Kernels* found = nullptr;
  for (int idx = 0; const Kernels* table = kernels_at(idx); ++idx) {
    if (std::string_view(table->isa) == isa) found = table;
  }
  return found;
}

const Kernels& choose_kernels(const char* forced_isa) {
  if (forced_isa != nullptr) {
    if (const Kernels* table = find_kernels(forced_isa)) return *table;
    throw Error(fmt::format("[MESHSEEK_FORCE_ISA] \"{}\" is unknown or not supported by this machine; expected scalar, avx2, avx512 or amx",
                            forced_isa));
  }
  for (const char* isa : {"amx", "avx512", "avx2"}) {
    if (const Kernels* table = find_kernels(isa)) return *table;
  }
  return scalar::kTable;
}

const Kernels& kernels() {
  static const Kernels& table = choose_kernels(std::getenv("MESHSEEK_FORCE_ISA"));
  return table;
}

namespace {

/// The float products are those of avx512.
StreamKernels make_vnni_table() {
  StreamKernels table = avx512::kStreamTable;
  table.dot_int8_b8 = avx512_vnni::kStreamTable.dot_int8_b8;
  table.dot_int8_b4 = avx512_vnni::kStreamTable.dot_int8_b4;
  return table;
}

}  // namespace

const StreamKernels* find_stream_kernels(const char* isa) {
  static const StreamKernels vnni_table = make_vnni_table();
  const std::string_view name = isa;
  const bool has_avx512 = find_kernels("avx512") != nullptr;
  if (name == "avx2" && find_kernels("avx2") != nullptr) return &avx2::kStreamTable;
  if (name == "avx512" && has_avx512) return &avx512::kStreamTable;
  const bool has_vnni = has_avx512 && __builtin_cpu_supports("avx512vnni") != 0 && __builtin_cpu_supports("avx512vbmi") != 0;
  return name == "avx512_vnni" && has_vnni ? &vnni_table : nullptr;
}

std::int64_t stream_step() {
  static const bool is_amd = __builtin_cpu_is("amd") != 0;
  return is_amd ? 256 : 64;
}

const StreamKernels* stream_kernels() {
  static const StreamKernels* const table = [] {
    const std::string_view isa = kernels().isa;
    if (isa != "avx512" && isa != "amx") return find_stream_kernels(kernels().isa);
    for (const char* name : {"avx512_vnni", "avx512"}) {
      if (const StreamKernels* table = find_stream_kernels(name)) return table;
    }
    return find_stream_kernels("avx2");  // tiles that are emulated
  }();
  return table;
}

}  // namespace meshseek::cpu
