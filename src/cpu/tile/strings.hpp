// Level indices from the strings of trellis codes (trellis.hpp): 64 groups at a time, a byte of each in the bytes of a register.
//
//   bit o of an index = xor of the window bits b whose column has bit o
#if defined(QJL_TILE_STRINGS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_TILE_STRINGS
#undef QJL_TILE_STRINGS
#else
#define QJL_TILE_STRINGS
#endif

#include <cstdint>
#include <utility>

#include "lanes.hpp"
#include "trellis.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// The groups' own bytes, and the last byte of the group before each. Vector: u32x16, or one register of the target.
template <Code kCode, typename Vector>
struct StringGroups {
  Vector own[group_bytes(traits(kCode))];
  Vector before;
};

// Byte i: the level index of step kStep of group i.
template <int kStep, Code kCode, typename Vector>
QJL_INLINE Vector string_indices(const StringGroups<kCode, Vector>& groups) {
  constexpr Trellis kTrellis = trellis(kCode);
  constexpr int kFirst = first_window_bit(kCode, kStep), kIndexBits = index_bits(kCode);
  Vector ones, bit[kTrellis.window_bits];  // each in the lowest bit of a byte, with others above
  QJL_UNROLL
  for (int b = 0; b < kTrellis.window_bits; ++b) {
    const int at = kFirst + b;
    bit[b] = at < 0 ? groups.before >> (8 + at) : groups.own[at / 8] >> at % 8;
  }
  fill(0x01010101u, ones);
  Vector index{};
  QJL_UNROLL
  for (int o = 0; o < kIndexBits; ++o) {
    Vector parity{};
    QJL_UNROLL
    for (int b = 0; b < kTrellis.window_bits; ++b) {
      if ((kTrellis.column[b] >> o & 1) != 0) parity = parity ^ bit[b];
    }
    index = index | (parity & ones) << o;
  }
  return index;
}

// Calls with every step of a group as a constant.
template <Code kCode, typename Function>
QJL_INLINE void each_step(const Function& function) {
  [&]<int... Step>(std::integer_sequence<int, Step...>) __attribute__((always_inline)) {
    (function.template operator()<Step>(), ...);
  }(std::make_integer_sequence<int, group_steps(traits(kCode))>{});
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
