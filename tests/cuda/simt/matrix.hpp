// The tensor core's products of one warp, as the PTX manual lays fragments out. Part of simt.hpp.
//
//   m16n8, lane = 4 g + t:  d[i] is row g + 8 (i / 2), column 2 t + i % 2
//   word i of a:            row g + 8 (i % 2), the numbers of t in half i / 2 of the inner dimension
//   word i of b:            column g, the numbers of t in half i of the inner dimension
#pragma once

#include <bit>
#include <cstdint>

namespace qjl::simt {

struct Operands {
  std::uint32_t a[4], b[2];
};

// d += sum over pairs of words of dot(word of a, word of b).
template <typename Dot>
void multiply(int (&d)[4], const Operands& mine, const char* what, const Dot& dot) {
  const Lanes<Operands> all = exchange(~0u, mine, what);
  const unsigned g = lane() / 4, t = lane() % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned half_row = i / 2, column = 2 * t + i % 2;
    for (unsigned k = 0; k < 8; ++k) {
      d[i] += dot(all[4 * g + k % 4].a[half_row + 2 * (k / 4)], all[4 * column + k % 4].b[k / 4]);
    }
  }
}

// K = 32 numbers of 8 bits: a is signed, b is Number.
template <typename Number>
void multiply_bytes(int (&d)[4], const Operands& mine) {
  multiply(d, mine, "a product of bytes", [](std::uint32_t x, std::uint32_t y) {
    int sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<std::int8_t>(x >> 8 * i) * static_cast<Number>(y >> 8 * i);
    return sum;
  });
}

// K = 256 bits: popcount(a and b).
inline void multiply_bits(int (&d)[4], const Operands& mine) {
  multiply(d, mine, "a product of bits", [](std::uint32_t x, std::uint32_t y) { return std::popcount(x & y); });
}

}  // namespace qjl::simt
