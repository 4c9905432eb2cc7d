/// Whether this process may use Intel AMX.
#pragma once

namespace meshseek {

/// Whether the processor has AMX (tiles, int8, bf16) and AVX-512 beside it, the system saves its state (XCR0) and has given this process permission to use
/// it. Asks once; the permission holds for all threads of the process from then on. Only when this is true may a tile be touched.
bool amx_is_permitted();

}  // namespace meshseek
