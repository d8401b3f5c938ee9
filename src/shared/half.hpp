// 16-bit floating point numbers and fp32, both ways, exact: every 16-bit number has its fp32 value, and fp32 rounds to the
// nearest 16-bit number, ties to even. Integer arithmetic only, so that every machine agrees with every other.
//
//   fp16: 1 sign, 5 exponent (bias 15), 10 fraction bits        bf16: the upper half of an fp32
//
// Overflow gives infinity, a NaN stays a (quiet) NaN.
#pragma once

#include <bit>
#include <cstdint>

#include "hd.hpp"
#include "qjl/types.hpp"

namespace qjl {

inline constexpr float kHalfMax = 65504.0f;

QJL_HD constexpr float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t{half & 0x8000u} << 16, magnitude = half & 0x7fffu;
  if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);  // infinity, NaN
  if (magnitude >= 0x0400u) return std::bit_cast<float>(sign | ((magnitude << 13) + (112u << 23)));
  const float subnormal = static_cast<float>(magnitude) * 0x1p-24f;
  return sign != 0 ? -subnormal : subnormal;
}

// Shifts right by `bits` in [1, 31], to the nearest, ties to even.
QJL_HD constexpr std::uint32_t round_shift(std::uint32_t value, int bits) {
  const std::uint32_t half_step = 1u << (bits - 1);
  return (value + half_step - 1 + (value >> bits & 1u)) >> bits;
}

QJL_HD constexpr std::uint16_t float_to_half(float number) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(number), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);   // NaN
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // 65520 and more: infinity
  if (magnitude >= 0x38800000u) return static_cast<std::uint16_t>(sign | round_shift(magnitude - (112u << 23), 13));
  if (magnitude < 0x33000000u) return static_cast<std::uint16_t>(sign);  // below 2^-25: zero
  const std::uint32_t fraction = (magnitude & 0x7fffffu) | 0x800000u;    // a subnormal: fraction * 2^(e - 150), unit 2^-24
  return static_cast<std::uint16_t>(sign | round_shift(fraction, 126 - static_cast<int>(magnitude >> 23)));
}

QJL_HD constexpr float bfloat_to_float(std::uint16_t bfloat) { return std::bit_cast<float>(std::uint32_t{bfloat} << 16); }

QJL_HD constexpr std::uint16_t float_to_bfloat(float number) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(number);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);  // NaN
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// A 16-bit number of the format `dtype` (f16 or bf16).
QJL_HD constexpr float to_float(std::uint16_t number, DType dtype) {
  return dtype == DType::bf16 ? bfloat_to_float(number) : half_to_float(number);
}
QJL_HD constexpr std::uint16_t from_float(float number, DType dtype) {
  return dtype == DType::bf16 ? float_to_bfloat(number) : float_to_half(number);
}

}  // namespace qjl
