// The block formats, one function a format: bytes of a block -> its numbers. quants.hpp has the formulas.
#include "quants.hpp"

#include <cmath>

#include "grid_quants.hpp"
#include "weights.hpp"

namespace qjl::engine {
namespace {

float f16_at(const std::byte* bytes) { return f16_to_f32(load_u16(bytes)); }
int u8(std::byte byte) { return static_cast<int>(byte); }
int low_nibble(std::byte byte) { return u8(byte) & 15; }
int high_nibble(std::byte byte) { return u8(byte) >> 4; }

void decode_f32(const std::byte* block, float* out) { std::memcpy(out, block, sizeof *out); }
void decode_f16(const std::byte* block, float* out) { *out = f16_at(block); }
void decode_bf16(const std::byte* block, float* out) { *out = bf16_to_f32(load_u16(block)); }

void decode_q8_0(const std::byte* block, float* out) {
  const float d = f16_at(block);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(static_cast<std::int8_t>(block[2 + i]));
}

// Nibble i of the low half is number i, of the high half number 16 + i.
void decode_q4_0(const std::byte* block, float* out) {
  const float d = f16_at(block);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(low_nibble(block[2 + i]) - 8);
    out[16 + i] = d * static_cast<float>(high_nibble(block[2 + i]) - 8);
  }
}

void decode_q4_1(const std::byte* block, float* out) {
  const float d = f16_at(block), m = f16_at(block + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(low_nibble(block[4 + i])) + m;
    out[16 + i] = d * static_cast<float>(high_nibble(block[4 + i])) + m;
  }
}

// Five bits: nibbles as in q4, the fifth bit of number i is bit i of a 32-bit word.
int fifth_bit(const std::byte* word, int number) { return (u8(word[number / 8]) >> (number % 8) & 1) << 4; }

void decode_q5_0(const std::byte* block, float* out) {
  const float d = f16_at(block);
  const std::byte *high = block + 2, *nibbles = block + 6;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((low_nibble(nibbles[i]) | fifth_bit(high, i)) - 16);
    out[16 + i] = d * static_cast<float>((high_nibble(nibbles[i]) | fifth_bit(high, 16 + i)) - 16);
  }
}

void decode_q5_1(const std::byte* block, float* out) {
  const float d = f16_at(block), m = f16_at(block + 2);
  const std::byte *high = block + 4, *nibbles = block + 8;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(low_nibble(nibbles[i]) | fifth_bit(high, i)) + m;
    out[16 + i] = d * static_cast<float>(high_nibble(nibbles[i]) | fifth_bit(high, 16 + i)) + m;
  }
}

// Six-bit scale and minimum of group g (0..7), packed in 12 bytes: groups 0-3 have bytes of their own, groups 4-7 take four low
// bits from bytes 8-11 and two high bits from the bytes of groups 0-3.
struct GroupScale {
  int scale, minimum;
};
GroupScale group_scale(const std::byte* packed, int g) {
  if (g < 4) return {u8(packed[g]) & 63, u8(packed[g + 4]) & 63};
  return {low_nibble(packed[g + 4]) | u8(packed[g - 4]) >> 6 << 4, high_nibble(packed[g + 4]) | u8(packed[g]) >> 6 << 4};
}

// q4_k and q5_k: 64 numbers share 32 bytes of nibbles; the fifth bits of q5_k lie in 32 bytes, bit g for group g.
void decode_q45_k(const std::byte* block, const std::byte* fifth, const std::byte* nibbles, float* out) {
  const float d = f16_at(block), minimum = f16_at(block + 2);
  for (int g = 0; g < 8; ++g) {
    const GroupScale group = group_scale(block + 4, g);
    const float scale = d * static_cast<float>(group.scale), offset = minimum * static_cast<float>(group.minimum);
    const std::byte* quads = nibbles + g / 2 * 32;
    for (int i = 0; i < 32; ++i) {
      const int low = g % 2 == 0 ? low_nibble(quads[i]) : high_nibble(quads[i]);
      const int high = fifth ? (u8(fifth[i]) >> g & 1) << 4 : 0;
      out[32 * g + i] = scale * static_cast<float>(low | high) - offset;
    }
  }
}
void decode_q4_k(const std::byte* block, float* out) { decode_q45_k(block, nullptr, block + 16, out); }
void decode_q5_k(const std::byte* block, float* out) { decode_q45_k(block, block + 16, block + 48, out); }

// Two halves of 128 numbers: 64 bytes of nibbles, 32 bytes of two-bit pairs, 8 scales; quarter k of a half is 32 numbers.
void decode_q6_k(const std::byte* block, float* out) {
  const float d = f16_at(block + 208);
  for (int half = 0; half < 2; ++half) {
    const std::byte *nibbles = block + 64 * half, *pairs = block + 128 + 32 * half, *scales = block + 192 + 8 * half;
    for (int k = 0; k < 4; ++k) {
      for (int i = 0; i < 32; ++i) {
        const std::byte byte = nibbles[32 * (k % 2) + i];
        const int low = k < 2 ? low_nibble(byte) : high_nibble(byte), high = u8(pairs[i]) >> (2 * k) & 3;
        const float scale = d * static_cast<float>(static_cast<std::int8_t>(scales[2 * k + i / 16]));
        out[128 * half + 32 * k + i] = scale * static_cast<float>((low | high << 4) - 32);
      }
    }
  }
}

// Quarter k of a half of 128 numbers is bits 2 k of 32 bytes, in two groups of 16.
template <typename Number>
void decode_two_bits(const std::byte* pairs, const Number& number, float* out) {
  for (int half = 0; half < 2; ++half) {
    for (int k = 0; k < 4; ++k) {
      for (int i = 0; i < 32; ++i) {
        const int low = u8(pairs[32 * half + i]) >> (2 * k) & 3;
        out[128 * half + 32 * k + i] = number(8 * half + 2 * k + i / 16, i, 4 * half + k, low);
      }
    }
  }
}

void decode_q2_k(const std::byte* block, float* out) {
  const float d = f16_at(block + 80), minimum = f16_at(block + 82);
  decode_two_bits(
      block + 16,
      [&](int group, int, int, int code) {
        const float scale = d * static_cast<float>(low_nibble(block[group]));
        return scale * static_cast<float>(code) - minimum * static_cast<float>(high_nibble(block[group]));
      },
      out);
}

// 32 bytes of third bits, bit `quarter` of byte i; 64 of pairs; six-bit scales: nibbles in 8 bytes, upper pairs in 4.
void decode_q3_k(const std::byte* block, float* out) {
  const std::byte* scales = block + 96;
  const float d = f16_at(block + 108);
  decode_two_bits(
      block + 32,
      [&](int group, int i, int quarter, int low) {
        const int nibble = group < 8 ? low_nibble(scales[group]) : high_nibble(scales[group - 8]);
        const int scale = (nibble | (u8(scales[8 + group % 4]) >> (2 * (group / 4)) & 3) << 4) - 32;
        const int code = low | (u8(block[i]) >> quarter & 1) << 2;
        return d * static_cast<float>(scale) * static_cast<float>(code - 4);
      },
      out);
}

constexpr float kUnevenLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr float kTwiceFloat4[16] = {0, 1, 2, 3, 4, 6, 8, 12, -0.0, -1, -2, -3, -4, -6, -8, -12};

// 16 bytes of nibbles: the low half is numbers 0 to 15.
void decode_levels(const float* levels, float scale, const std::byte* nibbles, float* out) {
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * levels[low_nibble(nibbles[i])];
    out[16 + i] = scale * levels[high_nibble(nibbles[i])];
  }
}

void decode_iq4_nl(const std::byte* block, float* out) { decode_levels(kUnevenLevels, f16_at(block), block + 2, out); }

// f16 scale, 2 bytes of upper pairs of the groups' scales, 4 of lower nibbles, 128 of codes.
void decode_iq4_xs(const std::byte* block, float* out) {
  const float d = f16_at(block);
  const int upper = load_u16(block + 2);
  for (int g = 0; g < 8; ++g) {
    const std::byte nibbles = block[4 + g / 2];
    const int scale = ((g % 2 == 0 ? low_nibble(nibbles) : high_nibble(nibbles)) | (upper >> (2 * g) & 3) << 4) - 32;
    decode_levels(kUnevenLevels, d * static_cast<float>(scale), block + 8 + 16 * g, out + 32 * g);
  }
}

void decode_mxfp4(const std::byte* block, float* out) {
  decode_levels(kTwiceFloat4, std::ldexp(1.0f, u8(block[0]) - 128), block + 1, out);
}

using Decode = void (*)(const std::byte* block, float* out);
template <Decode decode>
void decode_all(const std::byte* blocks, std::int64_t num_blocks, int bytes, int numbers, float* out) {
  for (std::int64_t b = 0; b < num_blocks; ++b) decode(blocks + b * bytes, out + b * numbers);
}

}  // namespace

void dequantize(WeightType type, const std::byte* blocks, std::int64_t count, float* out) {
  const int bytes = block_bytes(type), numbers = block_numbers(type);
  const std::int64_t n = count / numbers;
  switch (type) {
    case WeightType::f32: return decode_all<decode_f32>(blocks, n, bytes, numbers, out);
    case WeightType::f16: return decode_all<decode_f16>(blocks, n, bytes, numbers, out);
    case WeightType::bf16: return decode_all<decode_bf16>(blocks, n, bytes, numbers, out);
    case WeightType::q8_0: return decode_all<decode_q8_0>(blocks, n, bytes, numbers, out);
    case WeightType::q4_0: return decode_all<decode_q4_0>(blocks, n, bytes, numbers, out);
    case WeightType::q4_1: return decode_all<decode_q4_1>(blocks, n, bytes, numbers, out);
    case WeightType::q5_0: return decode_all<decode_q5_0>(blocks, n, bytes, numbers, out);
    case WeightType::q5_1: return decode_all<decode_q5_1>(blocks, n, bytes, numbers, out);
    case WeightType::q2_k: return decode_all<decode_q2_k>(blocks, n, bytes, numbers, out);
    case WeightType::q3_k: return decode_all<decode_q3_k>(blocks, n, bytes, numbers, out);
    case WeightType::iq4_nl: return decode_all<decode_iq4_nl>(blocks, n, bytes, numbers, out);
    case WeightType::iq4_xs: return decode_all<decode_iq4_xs>(blocks, n, bytes, numbers, out);
    case WeightType::mxfp4: return decode_all<decode_mxfp4>(blocks, n, bytes, numbers, out);
    case WeightType::iq1_s: return decode_all<decode_iq1_s>(blocks, n, bytes, numbers, out);
    case WeightType::iq1_m: return decode_all<decode_iq1_m>(blocks, n, bytes, numbers, out);
    case WeightType::iq2_xxs: return decode_all<decode_iq2_xxs>(blocks, n, bytes, numbers, out);
    case WeightType::iq2_xs: return decode_all<decode_iq2_xs>(blocks, n, bytes, numbers, out);
    case WeightType::iq2_s: return decode_all<decode_iq2_s>(blocks, n, bytes, numbers, out);
    case WeightType::iq3_xxs: return decode_all<decode_iq3_xxs>(blocks, n, bytes, numbers, out);
    case WeightType::iq3_s: return decode_all<decode_iq3_s>(blocks, n, bytes, numbers, out);
    case WeightType::q4_k: return decode_all<decode_q4_k>(blocks, n, bytes, numbers, out);
    case WeightType::q5_k: return decode_all<decode_q5_k>(blocks, n, bytes, numbers, out);
    case WeightType::q6_k: return decode_all<decode_q6_k>(blocks, n, bytes, numbers, out);
  }
}

void Weight::decode_row(std::int64_t r, float* out) const { dequantize(type, row(r), columns, out); }

namespace {

void code_fives(const std::byte* nibbles, const std::byte* fifth, std::uint8_t* codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = static_cast<std::uint8_t>(low_nibble(nibbles[i]) | fifth_bit(fifth, i));
    codes[16 + i] = static_cast<std::uint8_t>(high_nibble(nibbles[i]) | fifth_bit(fifth, 16 + i));
  }
}

// q4_k and q5_k: group g of a block of 256.
CodedBlock code_k(const std::byte* block, const std::byte* fifth, const std::byte* nibbles, int g) {
  const GroupScale group = group_scale(block + 4, g);
  CodedBlock out{};
  out.scale = f32_to_f16(f16_at(block) * static_cast<float>(group.scale));
  out.offset = f32_to_f16(-f16_at(block + 2) * static_cast<float>(group.minimum));
  const auto quad = [&](int i) {
    const std::byte both = nibbles[g / 2 * 32 + i];
    return g % 2 == 0 ? low_nibble(both) : high_nibble(both);
  };
  for (int i = 0; i < 32 && fifth; ++i) out.codes[i] = static_cast<std::uint8_t>(quad(i) | (u8(fifth[i]) >> g & 1) << 4);
  for (int i = 0; i < 16 && !fifth; ++i) out.codes[i] = static_cast<std::uint8_t>(quad(i) | quad(16 + i) << 4);
  return out;
}

// q6_k: group g of 32 numbers, two scales.
CodedBlock code_q6_k(const std::byte* block, int g) {
  const int half = g / 4, k = g % 4;
  const std::byte *nibbles = block + 64 * half + 32 * (k % 2), *pairs = block + 128 + 32 * half;
  const auto scale = [&](int i) {
    return f32_to_f16(f16_at(block + 208) * static_cast<float>(static_cast<std::int8_t>(block[192 + 8 * half + 2 * k + i])));
  };
  CodedBlock out{};
  out.scale = scale(0);
  out.second_scale = scale(1);
  for (int i = 0; i < 32; ++i) {
    const int low = k < 2 ? low_nibble(nibbles[i]) : high_nibble(nibbles[i]);
    out.codes[i] = static_cast<std::uint8_t>(low | (u8(pairs[i]) >> (2 * k) & 3) << 4);
  }
  return out;
}

}  // namespace

CodedBlock coded_block(WeightType type, const std::byte* row, std::int64_t b) {
  const std::byte* block = row + b * 32 / block_numbers(type) * block_bytes(type);
  const int group = static_cast<int>(b % 8);
  CodedBlock out{};
  out.scale = load_u16(block);
  out.offset = load_u16(block + 2);
  switch (type) {
    case WeightType::q4_0: std::memcpy(out.codes, block + 2, 16); break;
    case WeightType::q4_1: std::memcpy(out.codes, block + 4, 16); break;
    case WeightType::q5_0: code_fives(block + 6, block + 2, out.codes); break;
    case WeightType::q5_1: code_fives(block + 8, block + 4, out.codes); break;
    case WeightType::q8_0:
      for (int i = 0; i < 32; ++i) out.codes[i] = static_cast<std::uint8_t>(u8(block[2 + i]) ^ 128);
      break;
    case WeightType::q4_k: return code_k(block, nullptr, block + 16, group);
    case WeightType::q5_k: return code_k(block, block + 16, block + 48, group);
    case WeightType::q6_k: return code_q6_k(block, group);
    case WeightType::f32:
    case WeightType::f16:
    case WeightType::bf16:
    case WeightType::q2_k:
    case WeightType::q3_k:
    case WeightType::iq1_s:
    case WeightType::iq1_m:
    case WeightType::iq2_xxs:
    case WeightType::iq2_xs:
    case WeightType::iq2_s:
    case WeightType::iq3_xxs:
    case WeightType::iq3_s:
    case WeightType::iq4_nl:
    case WeightType::iq4_xs:
    case WeightType::mxfp4: break;  // PackedWeight::can_pack
  }
  return out;
}

}  // namespace qjl::engine
