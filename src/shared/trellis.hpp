// Trellis codes (Book::trellis): a token's numbers share one string of bits, and each is a level of the last few of them.
//
//   string   k d bits; step s adds bits k s .. k s + k - 1                       k = traits(code).bits
//   window   of step s: bits k (s + 1) - L .. k (s + 1) - 1, modulo k d; the last bit is the window's highest
//   number   level_of(code, i), i = xor of column[b] over the set bits b of the window
//
// The string bites its tail: the window of step 0 begins in its last bits, so there is no start state to keep. Any string is a
// token. Neighbours overlap in L - k bits, so that a number may be any of 2^m levels while it costs k bits: of all strings the
// encoder takes the one that lies closest (cpu/encode/trellis.hpp). Fine codes are strings without overlap: L = k, the index is the
// window itself. An index that is linear needs no table of 2^L entries.
// Source: Marcellin, Fischer 1990 (trellis coded quantisation); Tseng et al. 2024 (QTIP: bit shifts, tail biting).
#pragma once

#include <cstdint>

#include "codebook.hpp"
#include "codes.hpp"

namespace qjl {

inline constexpr int kMaxWindowBits = 8;

struct Trellis {
  int window_bits;  // L; 0: the code is no string
  std::uint8_t column[kMaxWindowBits];
  constexpr int index(int window) const {
    int i = 0;
    for (int b = 0; b < window_bits; ++b) i ^= (window >> b & 1) != 0 ? column[b] : 0;
    return i;
  }
};

// Found by a search over columns and levels together, for normal numbers.
constexpr Trellis trellis(Code code) {
  switch (code) {
    case Code::f16:
    case Code::s1:
    case Code::s2:
    case Code::l4:
    case Code::l8:
    case Code::l16:
    case Code::jl:
    case Code::minmax: return {};
    case Code::t2: return {6, {8, 12, 10, 15, 12, 4}};
    case Code::t2w: return {8, {12, 8, 2, 9, 10, 10, 12, 4}};
    case Code::t3: return {8, {28, 16, 4, 1, 3, 21, 9, 13}};
    case Code::t4: return {8, {8, 35, 29, 25, 53, 37, 57, 33}};
    case Code::l32: return {5, {1, 2, 4, 8, 16}};
    case Code::l64: return {6, {1, 2, 4, 8, 16, 32}};
  }
  return {};
}

// m of 2^m levels.
constexpr int index_bits(Code code) {
  int bits = 0;
  while (1 << bits < 2 * codebook(code).count) ++bits;
  return bits;
}

// Steps that stand in bytes of their own; `bytes` counts a nibble at the end as one.
struct StringGroup {
  int steps, bytes;
  bool nibble;  // the last byte has four bits
};
// Of keys whole bytes. Of values four steps: the four blocks of 64 channels.
constexpr StringGroup key_group(const CodeTraits& code) {
  const int steps = code.bits % 2 == 0 ? 4 : 8;
  return {steps, steps * code.bits / 8, false};
}
constexpr StringGroup value_group(const CodeTraits& code) { return {4, (4 * code.bits + 7) / 8, code.bits % 2 != 0}; }

// The oldest bit of the window of step c of a group, counted from the lowest bit of the group's first byte; below 0: bit -1 is the
// last bit of the group before.
constexpr int first_window_bit(Code code, int step) { return traits(code).bits * (step + 1) - trellis(code).window_bits; }

}  // namespace qjl
