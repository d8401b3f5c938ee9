// How many fp32 roundings stand behind a number, as factors of u = 2^-24: the terms of which bounds are sums.
//
//   projection  projection_terms u |x| a coordinate, projection_norm_terms u |x| the whole vector
//   score       score_terms u |q| reach, reach = what a kernel adds up for the key (oracle_view.hpp, sealed_pages.hpp)
#pragma once

#include <cmath>

#include "oracle.hpp"

namespace qjl::test {

inline constexpr double kUnit = 0x1p-24;  // u: relative rounding error of fp32

// Rounding of a projection P x, as a factor of u |x|: of one coordinate, and of the whole vector in 2-norm. Hadamard: 2 log2 d
// stages, each orthogonal up to its scale and rounded once; else dots of d terms with rounded P. Three more for the input, a sign,
// a scale.
inline double projection_terms(int d) { return (oracle::is_power_of_two(d) ? 2.0 * std::log2(d) : d) + 3.0; }
inline double projection_norm_terms(int d) { return projection_terms(d) * (oracle::is_power_of_two(d) ? 1.0 : std::sqrt(d)); }

// Rounding of a score, as a factor of u |q| reach: the projected query, a dot over its coordinates, <q, mean>, and sixteen for
// scales, their table, the softmax scale and sums of parts.
inline double score_terms(const oracle::Format& f) {
  if (f.key == oracle::Code::jl) return f.m + f.outlier_m + f.d + 16.0;
  const double rotation = oracle::rotated(f.key) ? projection_norm_terms(f.d) : 0.0;
  return rotation + f.d * oracle::frames_of(f.key) + f.d + 16.0;
}

}  // namespace qjl::test
