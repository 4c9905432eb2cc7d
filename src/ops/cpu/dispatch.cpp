#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

#include "base/error.hpp"
#include "ops/cpu/gemv_tables.hpp"
#include "ops/cpu/kernels_tables.hpp"

namespace meshseek::cpu {

const Kernels* find_kernels(const char* isa) {
  const std::string_view name = isa;
  const bool has_avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                          __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
  if (name == "scalar") return &scalar::kTable;
  if (name == "avx2" && has_avx2) return &avx2::kTable;
  if (name == "avx512" && has_avx512) return &avx512::kTable;
  return nullptr;
}

const Kernels& choose_kernels(const char* forced_isa) {
  if (forced_isa != nullptr) {
    if (const Kernels* table = find_kernels(forced_isa)) return *table;
    throw Error(fmt::format("[MESHSEEK_FORCE_ISA] \"{}\" is unknown or not supported by this machine; expected scalar, avx2 or avx512",
                            forced_isa));
  }
  for (const char* isa : {"avx512", "avx2"}) {
    if (const Kernels* table = find_kernels(isa)) return *table;
  }
  return scalar::kTable;
}

const Kernels& kernels() {
  static const Kernels& table = choose_kernels(std::getenv("MESHSEEK_FORCE_ISA"));
  return table;
}

const StreamKernels* find_stream_kernels(const char* isa) {
  const Kernels* table = find_kernels(isa);
  if (table == &avx2::kTable) return &avx2::kStreamTable;
  if (table == &avx512::kTable) return &avx512::kStreamTable;
  return nullptr;
}

const StreamKernels* stream_kernels() {
  static const StreamKernels* const table = find_stream_kernels(kernels().isa);
  return table;
}

}  // namespace meshseek::cpu
