// Numbers of model files as fp32: plain floats and ggml's block formats.
//
//   q4_0, q5_0, q8_0   w = d * (q - centre)          blocks of 32, d in f16
//   q4_1, q5_1         w = d * q + m                 blocks of 32, d and m in f16
//   q4_k, q5_k         w = d * s_g * q - e * m_g     blocks of 256, 8 groups with 6-bit s_g and m_g
//   q6_k               w = d * s_g * (q - 32)        blocks of 256, 16 groups with int8 s_g
//   q3_k               w = d * (s_g - 32) * (q - 4)  blocks of 256, 16 groups with 6-bit s_g
//   q2_k               w = d * s_g * q - e * m_g     blocks of 256, 16 groups with 4-bit s_g and m_g
//   iq4_nl             w = d * level[q]              blocks of 32
//   iq4_xs             w = d * (s_g - 32) level[q]   blocks of 256, 8 groups with 6-bit s_g
//   iq1, iq2, iq3      grid_quants.hpp
//   mxfp4              w = 2^(e - 127) * float4[q]   blocks of 32, e one byte
//
// Source: ggml-quants.c of ggml; PyPI `gguf` (gguf.quants) is the test's oracle and agrees bit for bit.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "weight_type.hpp"

namespace qjl::engine {

inline std::uint16_t load_u16(const std::byte* bytes) {
  std::uint16_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// The multiplication by 2^112 moves the exponent's bias and makes subnormals normal.
inline float f16_to_f32(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16, rest = (half & 0x7fffu) << 13;
  const bool is_finite = (half & 0x7c00u) != 0x7c00u;
  const std::uint32_t magnitude =
      is_finite ? std::bit_cast<std::uint32_t>(std::bit_cast<float>(rest) * 0x1p112f) : rest | 0x7f800000u;
  return std::bit_cast<float>(sign | magnitude);
}

// Rounded to nearest, ties to even; above 65504 infinity.
inline std::uint16_t f32_to_f16(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x), sign = bits >> 16 & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {  // subnormal: adding 0.5 leaves the nearest multiple of 2^-24 in the last bits
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u));
  }
  return static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13));
}

inline float bf16_to_f32(std::uint16_t half) { return std::bit_cast<float>(std::uint32_t{half} << 16); }

// Writes `count` numbers; `blocks` begins at a block and holds ceil(count / block_numbers) of them. count is a multiple of
// block_numbers(type).
void dequantize(WeightType type, const std::byte* blocks, std::int64_t count, float* out);

// 32 numbers of a row as unsigned codes: w = scale * code + offset, or scale * (code - centre) in a format with a centre (q4_0: 8,
// q5_0: 16, q6_k: 32, q8_0: 128). Scales and offsets of the K formats are products, rounded here to fp16.
struct CodedBlock {
  std::uint8_t codes[32];       // 4-bit formats use 16 bytes: byte i has the codes of numbers i and 16 + i
  std::uint16_t scale, offset;  // fp16
  std::uint16_t second_scale;   // q6_k: of numbers 16 and on
};
// Block `b` of 32 columns; of the types that PackedWeight takes.
CodedBlock coded_block(WeightType type, const std::byte* row, std::int64_t b);

}  // namespace qjl::engine
