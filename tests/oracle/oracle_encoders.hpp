// What each encoder chooses: whole numbers made from y = P x at norm sqrt(d), then exact arithmetic.
//
//   signs       one frame: sign(y), sign(0) is plus
//   two frames  t_f = 4 u round(51.2 y_f) / 32, within 2^14; m_1 = 0, m_2 = soft(t_2); rounds of m_1 = soft(t_1 - u C m_2),
//               m_2 = soft(t_2 - u C^T m_1); soft(f) = f 2^-k, rounded, within -4 .. 4; u C = P_1 P_2^T u in whole numbers,
//               u = d, or 512 for a dense frame; k = log2 u less 0 0 1 1 1 1 2 2, then 0, and the last round's f have the signs
//   Lloyd-Max   n = min(255, round(64 |y|)); for each candidate g the thresholds T = floor(64 threshold / g); the largest
//               (sum h l)^2 / sum l^2 wins, h = floor(n / 2), l = level of h over floor(T / 2); then numbers by n over T
//
//   fine        scales s = 2^(n / 32), n = n0 - 11 .. n0 + 4, 2^(n0 / 32) the nearest to step |y| / sqrt(d); the nearest levels of y / s,
//               of two equally near ones the larger; the least |y - s l|^2 + 7 (s <y, l> - |y|^2)^2 / |y|^2 wins
//   trellis     oracle_trellis.hpp
//
// margin: how far the closest rounding was from going the other way, in units of y. Sees the standard library only.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "oracle_codec.hpp"

namespace oracle {

struct Choice {
  std::vector<int> numbers;
  double margin = std::numeric_limits<double>::infinity();
};

// y at norm sqrt(d).
inline Vector to_unit(const Matrix& frame, const Vector& x) {
  Vector y = multiply(frame, x);
  const double factor = std::sqrt(static_cast<double>(y.size())) / norm(x);
  for (double& coordinate : y) coordinate *= factor;
  return y;
}
// The nearest whole number of `steps` steps in a unit; the margin shrinks to the distance from the nearest half.
inline std::int64_t round_steps(double y, double steps, double& margin) {
  const double down = std::floor(y * steps);
  margin = std::min(margin, std::abs(y * steps - down - 0.5) / steps);
  return static_cast<std::int64_t>(std::nearbyint(y * steps));
}

inline Choice plain_signs(const Matrix& frame, const Vector& x) {
  Choice choice;
  for (double y : to_unit(frame, x)) {
    choice.numbers.push_back(y < 0.0 ? 1 : 0);
    choice.margin = std::min(choice.margin, std::abs(y));
  }
  return choice;
}

// ---- two frames
// -------------------------------------------------------------------------------------------------------------------

// u P_1 P_2^T, rounded.
struct Cross {
  std::int64_t unit = 0;
  std::vector<std::int64_t> at;
};
inline Cross make_cross(const Matrix& first, const Matrix& second) {
  const int d = first.rows;
  Cross cross{is_power_of_two(d) ? d : 512, {}};
  for (int i = 0; i < d; ++i) {
    for (int j = 0; j < d; ++j) {
      double sum = 0.0;
      for (int c = 0; c < d; ++c) sum += first(i, c) * second(j, c);
      cross.at.push_back(std::llround(static_cast<double>(cross.unit) * sum));
    }
  }
  return cross;
}

using Integers = std::vector<std::int64_t>;
inline Integers targets(const Matrix& frame, const Vector& x, std::int64_t unit, double& margin) {
  const std::int64_t steps = unit / 8, limit = ((1 << 14) - 1) / steps;
  Integers t;
  for (double y : to_unit(frame, x)) t.push_back(steps * std::clamp(round_steps(y, 51.2, margin), -limit, limit));
  return t;
}
// t - u C m, or with the transpose.
inline Integers fields(const Cross& cross, bool transposed, const Integers& t, const Integers& m) {
  const std::size_t d = t.size();
  Integers f = t;
  for (std::size_t i = 0; i < d; ++i) {
    for (std::size_t j = 0; j < d; ++j) f[i] -= cross.at[transposed ? j * d + i : i * d + j] * m[j];
  }
  return f;
}
inline Integers soft(const Integers& f, int shift) {
  Integers m;
  for (std::int64_t x : f) m.push_back(std::clamp<std::int64_t>((x + ((std::int64_t{1} << shift) >> 1)) >> shift, -4, 4));
  return m;
}

inline Choice annealed_signs(const Matrix& p1, const Matrix& p2, const Cross& cross, const Vector& x) {
  Choice choice;
  const Integers t1 = targets(p1, x, cross.unit, choice.margin), t2 = targets(p2, x, cross.unit, choice.margin);
  int log2_unit = 0;
  while (std::int64_t{1} << (log2_unit + 1) <= cross.unit) ++log2_unit;
  Integers f1, f2 = t2, m1, m2 = soft(f2, log2_unit);
  for (int cooling : {0, 0, 1, 1, 1, 1, 2, 2, log2_unit, log2_unit}) {
    f1 = fields(cross, false, t1, m2);
    m1 = soft(f1, log2_unit - cooling);
    f2 = fields(cross, true, t2, m1);
    m2 = soft(f2, log2_unit - cooling);
  }
  for (const Integers& f : {f1, f2}) {
    for (std::int64_t number : f) choice.numbers.push_back(number < 0 ? 1 : 0);
  }
  return choice;
}

// ---- Lloyd-Max
// --------------------------------------------------------------------------------------------------------------------

// Thresholds between the positive levels for one candidate, in steps of 1/64.
inline std::vector<int> thresholds(const Book& b, double candidate) {
  std::vector<int> out;
  for (std::size_t i = b.levels.size() / 2; i + 1 < b.levels.size(); ++i) {
    out.push_back(static_cast<int>(64.0 * b.step * 0.5 * (b.levels[i] + b.levels[i + 1]) / candidate));
  }
  return out;
}
inline int count_below(const std::vector<int>& thresholds, int magnitude, int shift) {
  int count = 0;
  for (int t : thresholds) count += magnitude >> shift > t >> shift;
  return count;
}

inline Choice searched_levels(Code code, const Matrix& frame, const Vector& x) {
  const Book b = book(code);
  const Vector y = to_unit(frame, x);
  const int half = static_cast<int>(b.levels.size()) / 2;
  Choice choice;
  std::vector<int> magnitude, chosen;
  for (double coordinate : y) {
    magnitude.push_back(static_cast<int>(std::min<std::int64_t>(255, round_steps(std::abs(coordinate), 64.0, choice.margin))));
    choice.margin = std::min(choice.margin, std::abs(coordinate));
  }
  double best = -1.0, second = -1.0;
  const Candidates search = b.candidates;
  for (int g = 0; g < search.count; ++g) {
    const std::vector<int> at = thresholds(b, search.first + (search.last - search.first) * g / (search.count - 1));
    std::int64_t along = 0, squares = 0;
    for (int n : magnitude) {
      const std::int64_t level = b.levels[half + count_below(at, n, 1)];
      along += n / 2 * level;
      squares += level * level;
    }
    const double score = static_cast<double>(along) * static_cast<double>(along) / static_cast<double>(squares);
    if (score > best) chosen = at;
    second = std::max(second, std::min(score, best));
    best = std::max(best, score);
  }
  if (best - second < 1e-6 * best && second < best) choice.margin = 0.0;  // fp32 may not tell them apart
  for (std::size_t c = 0; c < y.size(); ++c) {
    const int above = count_below(chosen, magnitude[c], 0);
    choice.numbers.push_back(y[c] < 0.0 ? half - 1 - above : half + above);
  }
  return choice;
}

// ---- fine levels
// --------------------------------------------------------------------------------------------------------------------

// The scale is in units of x; y at norm sqrt(d) here, so that margins are as elsewhere.
inline Choice fine_levels(Code code, const Matrix& frame, const Vector& x) {
  const Book b = book(code);
  const Vector y = to_unit(frame, x);
  const double d = static_cast<double>(y.size()), length = norm(x) / std::sqrt(d);  // of x in units of y
  const int half = static_cast<int>(b.levels.size()) / 2;
  const double exact = 32.0 * std::log2(b.step * length), nearest = std::nearbyint(exact);
  Choice choice;
  double best = std::numeric_limits<double>::infinity(), second = best, margin = best;
  for (int n = -11; n <= 4; ++n) {
    const double s = std::exp2((nearest + n) / 32.0) / length;
    std::vector<int> numbers;
    double error = 0.0, along = -d, close = std::numeric_limits<double>::infinity();
    for (double each : y) {
      const double at = std::abs(each);
      int i = half;
      while (i + 1 < 2 * half && 2.0 * at >= s * (b.levels[i] + b.levels[i + 1])) ++i;
      for (int j = half; j + 1 < 2 * half; ++j) close = std::min(close, std::abs(at - 0.5 * s * (b.levels[j] + b.levels[j + 1])));
      close = std::min(close, at);
      numbers.push_back(each < 0.0 ? 2 * half - 1 - i : i);
      error += (at - s * b.levels[i]) * (at - s * b.levels[i]);
      along += s * at * b.levels[i];
    }
    const double cost = error + 7.0 * along * along / d;
    if (cost < best) choice.numbers = numbers, margin = close;
    second = std::min(second, std::max(cost, best));
    best = std::min(best, cost);
  }
  // fp32 may not tell the best two apart, nor which scale is the nearest.
  const bool tied = second - best < 1e-3 * best || std::abs(std::abs(exact - nearest) - 0.5) < 1e-4;
  choice.margin = tied ? 0.0 : margin;
  return choice;
}

}  // namespace oracle
