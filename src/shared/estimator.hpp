// The estimators' constants and the 8-bit scales.
//
//   closing scale      s = |x|^2 / <x, r>, r = sum_f P_f^T level[c_f]:  <x, s r> = |x|^2, and E<q, s r> = <q, x> over the frames
//   stored scale       max * 2^((c - 255) / 32), c = 1 .. 255; c = 0 is 0
//   sketch (jl)        <q, k> ~ constant * |k| * <S q, sign(S k)>
//       Gaussian rows                        constant = sqrt(pi / 2) / m
//       orthogonal rows of norm sqrt(d)      constant = 1 / (m sqrt(d) E|u_1|), u uniform on the unit sphere of R^d: unbiased
//   rows that keep |error| <= eps |q||k| with probability 1 - delta: see sufficient_rows()
//
// Source: QJL, arXiv 2406.03482. The 8-bit scales use bit arithmetic and tables only: the same code on every machine.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "hd.hpp"

namespace qjl {

// ---- 8-bit scales ---------------------------------------------------------------------------------------------------------
inline constexpr int kScaleStepsPerOctave = 32;
inline constexpr int kScaleCodeMax = 255;

struct ScaleTables {
  float step[32];       // 2^(i / 32)
  float threshold[32];  // 2^((i + 1/2) / 32)
};
inline constexpr ScaleTables kScaleTables{
    {0x1p+0f,        0x1.059b0ep+0f, 0x1.0b5586p+0f, 0x1.11301ep+0f, 0x1.172b84p+0f, 0x1.1d4874p+0f, 0x1.2387a6p+0f,
     0x1.29e9ep+0f,  0x1.306fep+0f,  0x1.371a74p+0f, 0x1.3dea64p+0f, 0x1.44e086p+0f, 0x1.4bfdaep+0f, 0x1.5342b6p+0f,
     0x1.5ab07ep+0f, 0x1.6247ecp+0f, 0x1.6a09e6p+0f, 0x1.71f75ep+0f, 0x1.7a1148p+0f, 0x1.82589ap+0f, 0x1.8ace54p+0f,
     0x1.93737cp+0f, 0x1.9c4918p+0f, 0x1.a5503cp+0f, 0x1.ae89fap+0f, 0x1.b7f77p+0f,  0x1.c199bep+0f, 0x1.cb720ep+0f,
     0x1.d5818ep+0f, 0x1.dfc974p+0f, 0x1.ea4afap+0f, 0x1.f50766p+0f},
    {0x1.02c9a4p+0f, 0x1.087452p+0f, 0x1.0e3ec4p+0f, 0x1.1429aap+0f, 0x1.1a35bep+0f, 0x1.2063b8p+0f, 0x1.26b456p+0f,
     0x1.2d285ap+0f, 0x1.33c08cp+0f, 0x1.3a7db4p+0f, 0x1.4160a2p+0f, 0x1.486a2cp+0f, 0x1.4f9b28p+0f, 0x1.56f474p+0f,
     0x1.5e76f2p+0f, 0x1.662388p+0f, 0x1.6dfb24p+0f, 0x1.75feb6p+0f, 0x1.7e2f34p+0f, 0x1.868d9ap+0f, 0x1.8f1aeap+0f,
     0x1.97d82ap+0f, 0x1.a0c668p+0f, 0x1.a9e6b6p+0f, 0x1.b33a2cp+0f, 0x1.bcc1eap+0f, 0x1.c67f12p+0f, 0x1.d072d4p+0f,
     0x1.da9e6p+0f,  0x1.e502eep+0f, 0x1.efa1bep+0f, 0x1.fa7c18p+0f}};

// 2^((code - 255) / 32), 0 for code 0. Device code hands in its own copy of the tables.
QJL_HD constexpr float scale_factor(int code, const ScaleTables& tables = kScaleTables) {
  if (code == 0) return 0.0f;
  const int steps = code + 1;  // 32 * (octave + 8) + step
  const float octave = std::bit_cast<float>(static_cast<std::uint32_t>(127 - 8 + steps / kScaleStepsPerOctave) << 23);
  return tables.step[steps % kScaleStepsPerOctave] * octave;
}

struct ScaleFactors {
  float of[256];
};
QJL_HD constexpr ScaleFactors scale_factors() {
  ScaleFactors factors{};
  for (int code = 0; code <= kScaleCodeMax; ++code) factors.of[code] = scale_factor(code);
  return factors;
}
inline constexpr ScaleFactors kScaleFactors = scale_factors();

// The code nearest to scale / max in log2; code 1 down to half of its value, then 0. 0 <= scale <= max.
QJL_HD constexpr std::uint8_t scale_code(float scale, float max, const ScaleTables& tables = kScaleTables) {
  if (!(scale > 0.0f) || !(max > 0.0f)) return 0;
  const float ratio = scale / max;
  if (ratio < 0.5f * scale_factor(1, tables)) return 0;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(ratio);
  const int octave = static_cast<int>(bits >> 23) - 127;
  const float mantissa = std::bit_cast<float>((bits & 0x7fffffu) | 0x3f800000u);
  int step = 0;
  while (step < kScaleStepsPerOctave && mantissa >= tables.threshold[step]) ++step;
  const int code = kScaleCodeMax + kScaleStepsPerOctave * octave + step;
  return static_cast<std::uint8_t>(code < 1 ? 1 : code > kScaleCodeMax ? kScaleCodeMax : code);
}

// ---- the paper's sketch ---------------------------------------------------------------------------------------------------
// E|u_1| = Gamma(d/2) / (sqrt(pi) Gamma((d+1)/2)) on the unit sphere of R^d, by e(d) = e(d-2) (d-2)/(d-1), e(1) = 1, e(2) = 2/pi.
constexpr double mean_abs_coordinate(int dim) {
  double mean = dim % 2 == 1 ? 1.0 : 2.0 / std::numbers::pi;
  for (int d = dim % 2 == 1 ? 3 : 4; d <= dim; d += 2) mean *= static_cast<double>(d - 2) / (d - 1);
  return mean;
}
inline double gaussian_sketch_scale(int rows) { return std::sqrt(std::numbers::pi / 2.0) / rows; }
inline double orthogonal_sketch_scale(int rows, int dim) {
  return 1.0 / (rows * std::sqrt(static_cast<double>(dim)) * mean_abs_coordinate(dim));
}

// Gaussian rows that suffice for |error| <= eps |q||k| with probability 1 - delta. The variance of one row is at most
// pi/2 |q|^2|k|^2, so Bernstein's inequality needs pi, where the published lemma has 4/3: that one fails (tests/shared shows it).
inline double sufficient_rows(double eps, double delta) {
  return (std::numbers::pi + 4.0 * eps / 3.0) / (eps * eps) * std::log(2.0 / delta);
}
inline double published_rows(double eps, double delta) { return 4.0 / 3.0 * (1.0 + eps) / (eps * eps) * std::log(2.0 / delta); }

}  // namespace qjl
