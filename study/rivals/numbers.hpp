// Rounding to the short number formats in which rivals store what is not a code: fp16 scales, zeros and norms, fp8 numbers.
//
//   round_to(x) = nearest multiple of 2^max(e - significand_bits, least), x = m 2^e with 1/2 <= |m| < 1; ties to even
//   above the largest finite number it saturates
#pragma once

#include <algorithm>
#include <cmath>

namespace qjl::engine::rivals {

struct NumberFormat {
  int significand_bits;  // the hidden one included
  int least;             // exponent of the smallest number above zero
  float largest;
};
inline constexpr NumberFormat kFp16{11, -24, 65504.0f};
inline constexpr NumberFormat kE4m3{4, -9, 448.0f};  // OCP FP8 (arXiv 2209.05433)

inline float round_to(const NumberFormat& format, float x) {
  if (x == 0.0f) return x;
  int exponent = 0;
  std::frexp(x, &exponent);
  const float unit = std::ldexp(1.0f, std::max(exponent - format.significand_bits, format.least));
  return std::clamp(std::nearbyint(x / unit) * unit, -format.largest, format.largest);
}

inline float fp16(float x) { return round_to(kFp16, x); }

}  // namespace qjl::engine::rivals
