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

// The groups' own bytes, and the last eight bits of the group before each. Vector: u32x16, or one register of the target. Bits above
// a nibble do not count.
template <Code kCode, int kBytes, typename Vector>
struct StringGroups {
  Vector own[kBytes];
  Vector before;
};
template <Code kCode, typename Vector>
using KeyGroups = StringGroups<kCode, key_group(traits(kCode)).bytes, Vector>;
template <Code kCode, typename Vector>
using ValueGroups = StringGroups<kCode, value_group(traits(kCode)).bytes, Vector>;

// own(p), before(p): byte p of each group of quad q and of the group before it, as its line has it: nibbles of two quads in one.
template <Code kCode, typename Vector, typename Own, typename Before>
QJL_INLINE ValueGroups<kCode, Vector> value_groups(int q, const Own& own, const Before& before) {
  constexpr StringGroup kGroup = value_group(traits(kCode));
  constexpr int kLast = kGroup.bytes - 1;
  ValueGroups<kCode, Vector> groups;
  QJL_UNROLL
  for (int p = 0; p < kGroup.bytes; ++p) groups.own[p] = own(p);
  groups.before = before(kLast);
  if constexpr (kGroup.nibble) {
    Vector low, high;
    fill(0x0f0f0f0fu, low);
    fill(0xf0f0f0f0u, high);
    const Vector nibble = q % 2 == 0 ? groups.before << 4 : groups.before;
    groups.before = (before(kLast - 1) >> 4 & low) | (nibble & high);
    if (q % 2 != 0) groups.own[kLast] = groups.own[kLast] >> 4;
  }
  return groups;
}

// Byte i: the level index of step kStep of group i.
template <int kStep, Code kCode, int kBytes, typename Vector>
QJL_INLINE Vector string_indices(const StringGroups<kCode, kBytes, Vector>& groups) {
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
template <int kSteps, typename Function>
QJL_INLINE void each_step(const Function& function) {
  [&]<int... Step>(std::integer_sequence<int, Step...>)
      __attribute__((always_inline)) { (function.template operator()<Step>(), ...); }(std::make_integer_sequence<int, kSteps>{});
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
