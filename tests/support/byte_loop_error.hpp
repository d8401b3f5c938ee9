// What the byte loops of a target may add to an attend with few rows: the rounding of query tables and of softmax weights.
//
// Each is a sum of many roundings, taken as independent: six standard errors.
//   s2, l8   L look-ups, each rounded to a step: 6 step sqrt(L / 12), step = (largest range of a set of neighbours) / 252.49 or
//            254.49; sets of 24 signs, of 4 numbers (64 entries a table) or of 2 (16 entries)
//   l16 and  levels times an int8 query: 6 step / sqrt(12) |levels|, step = max |P q| / 127; AVX2 and AVX-512 without VBMI have
//   strings  levels of 7 bits for l16, t2, t2w and t3, off by .39 on the average: 6 * .39 |P q| more; whole ones for t4, l32, l64
//   weights  w_t s_t (weight times value scale) is rounded up or down to a step M / 255, M = the largest:
//            6 * 1/2 sqrt(sum_t r_t^2), r_t = the number that the levels of token t stand for. Below 1/512 step nothing is
//            rounded up. On AVX2 and AVX-512
//            without VBMI the bytes of neighbours in a frame, tokens 16 n + f and 8 more, are 258 together at most, 257 before
//            rounding: M is the largest w_t s_t or 255 / 257 of a sum of two, each the largest of four pages at its place.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "oracle.hpp"
#include "qjl/simd.hpp"

namespace qjl::test {

inline bool has_byte_loops(SimdTarget target, const oracle::Format& f) {
  using oracle::Code;
  const bool keys = f.key == Code::s2 || f.key == Code::l8 || f.key == Code::l16 || oracle::is_string(f.key);
  const bool values = f.value == Code::l4 || f.value == Code::l8 || f.value == Code::l16 || oracle::is_string(f.value);
  return target != SimdTarget::scalar && keys && values && f.d % 64 == 0;
}

// Targets that look 16 entries up and multiply bytes by pmaddubsw.
inline bool multiplies_pairs(SimdTarget target) { return target == SimdTarget::avx2 || target == SimdTarget::avx512; }

// Keys whose levels these targets shorten to 7 bits: whole ones are for strings of more than three bits.
inline bool shortens_levels(SimdTarget target, oracle::Code key) {
  return multiplies_pairs(target) && !(oracle::is_string(key) && oracle::bits_of_coordinate(key) > 3);
}

// [P_f q] of the key frames.
inline oracle::Vector project(const oracle::Codec& codec, const oracle::Vector& q) {
  oracle::Vector projected;
  for (const oracle::Matrix* frame : codec.frames_of_keys()) {
    const oracle::Vector part = oracle::multiply(*frame, q);
    projected.insert(projected.end(), part.begin(), part.end());
  }
  return projected;
}

// Of <projected query, levels of a key>, |levels| given.
inline double table_error(SimdTarget target, const oracle::Format& f, const oracle::Vector& projected, double level_norm) {
  if (f.key == oracle::Code::l16 || oracle::is_string(f.key)) {
    double largest = 0.0;
    for (double x : projected) largest = std::max(largest, std::abs(x));
    const double of_query = largest / 127.0 * level_norm / std::sqrt(12.0);
    return 6.0 * std::hypot(of_query, shortens_levels(target, f.key) ? 0.39 * oracle::norm(projected) : 0.0);
  }
  const auto largest_set = [&projected](std::size_t set) {
    double largest = 0.0;
    for (std::size_t first = 0; first < projected.size(); first += set) {
      double reach = 0.0;
      for (std::size_t c = first; c < std::min(first + set, projected.size()); ++c) reach += std::abs(projected[c]);
      largest = std::max(largest, reach);
    }
    return largest;
  };
  // Tables of 64 entries: one for six signs or two numbers, an unfinished set has two more. Of 16: for four signs or one number.
  const double count = static_cast<double>(projected.size());
  if (f.key == oracle::Code::s2) return 6.0 * 2.0 * largest_set(24) / 252.49 * std::sqrt((count / 4.0 + 2.0) / 12.0);
  const double fours = largest_set(4) * std::sqrt(count / 2.0), pairs = largest_set(2) * std::sqrt(count);
  return 6.0 * 2.0 * 127.0 * std::max(fours, pairs) / 254.49 / std::sqrt(12.0);
}

// Standard error of each rounded weight * value scale (0: not coded) of all tokens. A channel of the output is off by
// at most six times the root of sum_t (error_t * number_t)^2.
inline std::vector<double> weight_errors(SimdTarget target, const std::vector<double>& scaled_weights) {
  double largest = 0.0;
  std::map<std::size_t, double> at_place;  // 512 pass + token of a page
  for (std::size_t token = 0; token < scaled_weights.size(); ++token) {
    largest = std::max(largest, scaled_weights[token]);
    double& place = at_place[token / 512 * 512 + token % 128];
    place = std::max(place, scaled_weights[token]);
  }
  for (const auto& [token, weight] : at_place) {
    if (!multiplies_pairs(target) || token / 8 % 2 != 0) continue;
    const auto neighbour = at_place.find(token + 8);
    if (neighbour != at_place.end()) largest = std::max(largest, 255.0 / 257.0 * (weight + neighbour->second));
  }
  const double step = largest / 255.0;
  std::vector<double> errors;
  for (double weight : scaled_weights) errors.push_back(weight < step / 512.0 ? weight : 0.5 * step);
  return errors;
}

}  // namespace qjl::test
