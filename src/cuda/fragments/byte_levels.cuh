// Codes to bytes of levels, four at a time: one byte permutation looks four 3-bit numbers up in a table of eight bytes.
//
//   selector   four nibbles of a 16-bit half word, bit 3 of each clear: which byte of the table stands at which place
//   l4         nibbles of two bits (the table repeats its four bytes)       l8   nibbles of three bits
//   l16        two tables of eight, and a third permutation that chooses between them by bit 3
//
// The two selectors of a word make two words of bytes; the order of the numbers follows from where their bits stand, so it is the
// other operand of a product that is brought into that order.
#pragma once

#include "levels.cuh"
#include "thread.cuh"

namespace qjl::cuda {

// Bytes 0 and 1 of both words by turns: a0 b0 a1 b1; and bytes 2 and 3.
__device__ inline std::uint32_t interleave_low(std::uint32_t a, std::uint32_t b) { return permute_bytes(a, b, 0x5140); }
__device__ inline std::uint32_t interleave_high(std::uint32_t a, std::uint32_t b) { return permute_bytes(a, b, 0x7362); }

// The levels of the low half of a selector word: codes of up to three bits.
template <Code kCode>
__device__ inline std::uint32_t look_up(const ByteLevels& levels, std::uint32_t selectors) {
  return permute_bytes(levels.bytes[0], levels.bytes[traits(kCode).bits == 2 ? 0 : 1], selectors);
}

// Eight nibbles of four bits: out[0] from the low half of the word, out[1] from the high half.
__device__ inline void look_up_nibbles(const ByteLevels& levels, std::uint32_t nibbles, std::uint32_t (&out)[2]) {
  const std::uint32_t index = nibbles & 0x77777777u, choice = (nibbles >> 1 & 0x44444444u) | 0x32103210u;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::uint32_t low = permute_bytes(levels.bytes[0], levels.bytes[1], index >> 16 * half);
    const std::uint32_t high = permute_bytes(levels.bytes[2], levels.bytes[3], index >> 16 * half);
    out[half] = permute_bytes(low, high, choice >> 16 * half);
  }
}

// Selectors of words of 6-bit groups (two 3-bit numbers a byte: low nibble, high nibble), and of the fourth group of three rows.
__device__ inline std::uint32_t group_selector(std::uint32_t row) { return (row & 0x07070707u) | (row << 1 & 0x70707070u); }
__device__ inline std::uint32_t fourth_selector(std::uint32_t row0, std::uint32_t row1, std::uint32_t row2) {
  return (row0 >> 6 & 0x03030303u) | (row1 >> 4 & 0x04040404u) | (row1 >> 3 & 0x10101010u) | (row2 >> 1 & 0x60606060u);
}

// The words of a 16-byte load, by number.
struct Words {
  std::uint32_t word[4];
};
__device__ inline Words load_words(const void* at) {
  const uint4 x = load16(at);
  return {{x.x, x.y, x.z, x.w}};
}

__device__ inline Words load_shared(const void* at) {
  const uint4 x = *static_cast<const uint4*>(at);
  return {{x.x, x.y, x.z, x.w}};
}

}  // namespace qjl::cuda
