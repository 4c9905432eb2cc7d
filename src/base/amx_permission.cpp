#include "base/amx_permission.hpp"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace meshseek {

namespace {

constexpr unsigned kOsXsave = 1U << 27;                         ///< leaf 1, ECX: XGETBV may be executed
constexpr unsigned kFeatures = 1U << 22 | 1U << 24 | 1U << 25;  ///< leaf 7, EDX: bf16, tile, int8
constexpr unsigned kTileState = 1U << 17 | 1U << 18;            ///< XCR0: configuration, data
constexpr long kRequestPermission = 0x1023;                     ///< ARCH_REQ_XCOMP_PERM
constexpr long kTileData = 18;

bool has_instructions() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kOsXsave) == 0) return false;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 || (edx & kFeatures) != kFeatures) return false;
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
         __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vnni") != 0;
}

bool is_state_saved() {
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & kTileState) == kTileState;
}

/// The kernel refuses (too old, or a signal stack too small for tiles): then AMX is not used.
bool is_permitted() { return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0; }

}  // namespace

bool amx_is_permitted() {
  static const bool permitted = has_instructions() && is_state_saved() && is_permitted();
  return permitted;
}

}  // namespace meshseek
