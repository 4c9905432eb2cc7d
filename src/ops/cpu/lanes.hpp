/// Numbers of lanes: __builtin_shufflevector, which both compilers have, wants constants. Types alone, so that files of any instruction set may share them.
#pragma once

namespace meshseek::cpu {

template <int... kLane>
struct Lanes {};

/// 0, 1, .. kCount - 1
template <int kCount>
struct LanesOf;
template <>
struct LanesOf<4> {
  using All = Lanes<0, 1, 2, 3>;
};
template <>
struct LanesOf<8> {
  using All = Lanes<0, 1, 2, 3, 4, 5, 6, 7>;
};
template <>
struct LanesOf<16> {
  using All = Lanes<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>;
};
template <>
struct LanesOf<32> {
  using All = Lanes<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31>;
};

}  // namespace meshseek::cpu
