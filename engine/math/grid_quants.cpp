// A function for each format: bytes of a block -> its numbers. grid_quants.hpp has the formulas.
#include "grid_quants.hpp"

#include <bit>

#include "grids.hpp"
#include "quants.hpp"

namespace qjl::engine {
namespace {

int u8(std::byte byte) { return static_cast<int>(byte); }
int nibble(const std::byte* bytes, int i) { return u8(bytes[i / 2]) >> 4 * (i % 2) & 15; }
std::uint32_t load_u32(const std::byte* bytes) {
  std::uint32_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// Bit i of `signs` turns number i.
void signed_point(float scale, const std::int8_t* point, int size, int signs, float* out) {
  for (int i = 0; i < size; ++i) out[i] = scale * static_cast<float>((signs >> i & 1) != 0 ? -point[i] : point[i]);
}

// The eighth sign is the parity of the seven.
int eight_signs(std::uint32_t seven) {
  seven &= 127;
  return static_cast<int>(seven | (std::popcount(seven) & 1u) << 7);
}

float half_step(float d, int s, float unit) { return d * (0.5f + static_cast<float>(s)) * unit; }
float odd_step(float d, int s) { return d * static_cast<float>(2 * s + 1); }

// iq1: 8 numbers around a point.
void shifted_point(float scale, const std::int8_t* point, bool is_down, float* out) {
  for (int i = 0; i < 8; ++i) out[i] = scale * (static_cast<float>(point[i]) + (is_down ? -0.125f : 0.125f));
}

}  // namespace

// 32 numbers: four indices of a byte, then 32 bits, four times seven signs below four bits of scale.
void decode_iq2_xxs(const std::byte* block, float* out) {
  const float d = f16_to_f32(load_u16(block));
  for (int g = 0; g < 8; ++g) {
    const std::byte* indices = block + 2 + 8 * g;
    const std::uint32_t word = load_u32(indices + 4);
    const float scale = half_step(d, static_cast<int>(word >> 28), 0.25f);
    for (int k = 0; k < 4; ++k) {
      signed_point(scale, iq2_xxs_point(u8(indices[k])), 8, eight_signs(word >> 7 * k), out + 32 * g + 8 * k);
    }
  }
}

// 8 numbers: 16 bits, seven signs above nine of index.
void decode_iq2_xs(const std::byte* block, float* out) {
  const float d = f16_to_f32(load_u16(block));
  for (int k = 0; k < 32; ++k) {
    const int word = load_u16(block + 2 + 2 * k);
    const float scale = half_step(d, nibble(block + 66, k / 2), 0.25f);
    signed_point(scale, iq2_xs_point(word & 511), 8, eight_signs(static_cast<std::uint32_t>(word >> 9)), out + 8 * k);
  }
}

// 8 numbers: a byte of index, one of signs, two upper bits of index; bytes of a kind lie together.
void decode_iq2_s(const std::byte* block, float* out) {
  const std::byte *indices = block + 2, *signs = block + 34, *upper = block + 66, *scales = block + 74;
  const float d = f16_to_f32(load_u16(block));
  for (int k = 0; k < 32; ++k) {
    const int index = u8(indices[k]) | (u8(upper[k / 4]) >> 2 * (k % 4) & 3) << 8;
    signed_point(half_step(d, nibble(scales, k / 2), 0.25f), iq2_s_point(index), 8, u8(signs[k]), out + 8 * k);
  }
}

// 64 indices, then for every 32 numbers the 32 bits of iq2_xxs.
void decode_iq3_xxs(const std::byte* block, float* out) {
  const float d = f16_to_f32(load_u16(block));
  for (int g = 0; g < 8; ++g) {
    const std::uint32_t word = load_u32(block + 66 + 4 * g);
    const float scale = half_step(d, static_cast<int>(word >> 28), 0.5f);
    for (int k = 0; k < 8; ++k) {
      const int signs = eight_signs(word >> 7 * (k / 2)) >> 4 * (k % 2);
      signed_point(scale, iq3_xxs_point(u8(block[2 + 8 * g + k])), 4, signs, out + 32 * g + 4 * k);
    }
  }
}

// 64 indices, their ninth bits, 32 bytes of signs, four of scales.
void decode_iq3_s(const std::byte* block, float* out) {
  const std::byte *indices = block + 2, *ninth = block + 66, *signs = block + 74, *scales = block + 106;
  const float d = f16_to_f32(load_u16(block));
  for (int k = 0; k < 64; ++k) {
    const int index = u8(indices[k]) | (u8(ninth[k / 8]) >> k % 8 & 1) << 8;
    signed_point(odd_step(d, nibble(scales, k / 8)), iq3_s_point(index), 4, nibble(signs, k), out + 4 * k);
  }
}

// 32 lower bytes of indices, then for every 32 numbers 16 bits: upper three of four indices, three of scale, the shift's sign.
void decode_iq1_s(const std::byte* block, float* out) {
  const float d = f16_to_f32(load_u16(block));
  for (int g = 0; g < 8; ++g) {
    const int word = load_u16(block + 34 + 2 * g);
    for (int k = 0; k < 4; ++k) {
      const int index = u8(block[2 + 4 * g + k]) | (word >> 3 * k & 7) << 8;
      shifted_point(odd_step(d, word >> 12 & 7), iq1_point(index), word >> 15 != 0, out + 32 * g + 8 * k);
    }
  }
}

// 32 lower bytes of indices; 32 nibbles, the upper three bits and the shift's sign; four words of 16 bits, each with four scales and,
// above them, a quarter of d.
void decode_iq1_m(const std::byte* block, float* out) {
  const std::byte *uppers = block + 32, *scales = block + 48;
  int d_bits = 0;
  for (int i = 0; i < 4; ++i) d_bits |= load_u16(scales + 2 * i) >> 12 << 4 * i;
  const float d = f16_to_f32(static_cast<std::uint16_t>(d_bits));
  for (int k = 0; k < 32; ++k) {
    const int upper = nibble(uppers, k), group = k / 2;
    const int s = load_u16(scales + group / 4 * 2) >> 3 * (group % 4) & 7;
    shifted_point(odd_step(d, s), iq1_point(u8(block[k]) | (upper & 7) << 8), (upper & 8) != 0, out + 8 * k);
  }
}

}  // namespace qjl::engine
