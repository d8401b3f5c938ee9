// The codes in doubles: x^ = scale * sum_f P_f^T level[c_f], and what each encoder chooses.
//
//   signs       c = sign(P x); two frames: alternating, 6 rounds of  r = P1^T b1 + P2^T b2,  s = |r|^2 / <x, r>,
//               b1 = sign(P1 (s x - P2^T b2)),  b2 = sign(P2 (s x - P1^T b1))
//   Lloyd-Max   y = P x scaled to norm sqrt(d); for each candidate g the levels nearest to g y; the largest cosine wins
//   closing     scale = |x|^2 / <x, r>, so that <x, x^> = |x|^2
//   page mean   oracle_mean.hpp; keys code what its prediction leaves
//
// Sees the standard library only: the tests' own opinion.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <vector>

#include "oracle_mean.hpp"
#include "oracle_page.hpp"
#include "oracle_random.hpp"

namespace oracle {

// Integer levels, ascending, and the length of one step in units of a standard normal.
struct Book {
  std::vector<int> levels;
  double step = 1.0;
};
inline Book book(Code code) {
  switch (code) {
    case Code::s1:
    case Code::s2: return {{1, -1}, 1.0};  // number 1 is minus
    case Code::l4: return {{-120, -36, 36, 120}, .012587};
    case Code::l8: return {{-127, -79, -45, -14, 14, 45, 79, 127}, .016945};
    default: return {{-127, -96, -75, -58, -44, -31, -18, -6, 6, 18, 31, 44, 58, 75, 96, 127}, .021517};
  }
}

inline int nearest_level(const Book& b, double x) {
  int best = 0;
  for (std::size_t i = 1; i < b.levels.size(); ++i) {
    if (std::abs(x - b.levels[i]) < std::abs(x - b.levels[best])) best = static_cast<int>(i);
  }
  return best;
}

// How far x is from the nearest middle between two neighbouring levels.
inline double threshold_distance(const Book& b, double x) {
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 1; i < b.levels.size(); ++i) {
    least = std::min(least, std::abs(x - 0.5 * (b.levels[i - 1] + b.levels[i])));
  }
  return least;
}

inline Vector levels_of(const Book& b, const std::vector<int>& numbers) {
  Vector out;
  for (int number : numbers) out.push_back(b.levels[number]);
  return out;
}

// What a Lloyd-Max encoder does with one candidate: the numbers, how well they point along y, how close the closest call was
// (in levels; the scaled coordinate is known to a relative rounding error, so the distance is meaningful there).
struct Trial {
  std::vector<int> numbers;
  double cosine = 0.0;
  Vector scaled;  // candidate * y in units of levels
};
inline Trial try_candidate(const Book& b, const Vector& y, double candidate) {
  const double length = norm(y), factor = candidate * std::sqrt(static_cast<double>(y.size())) / (length * b.step);
  Trial trial;
  for (double coordinate : y) {
    trial.scaled.push_back(coordinate * factor);
    trial.numbers.push_back(nearest_level(b, trial.scaled.back()));
  }
  const Vector level = levels_of(b, trial.numbers);
  trial.cosine = dot(level, y) / (norm(level) * length);
  return trial;
}
inline std::vector<Trial> try_all(const Book& b, const Vector& y, const std::vector<double>& candidates) {
  std::vector<Trial> trials;
  for (double candidate : candidates) trials.push_back(try_candidate(b, y, candidate));
  return trials;
}
inline const Trial& best_trial(const std::vector<Trial>& trials) {
  return *std::max_element(trials.begin(), trials.end(), [](const Trial& a, const Trial& b) { return a.cosine < b.cosine; });
}

// The alternating encoder. margin: the least |projection| that any of its decisions rested on, relative to |s x|.
struct Signs {
  std::vector<int> numbers;  // 1 is minus; first frame, then second
  double margin = std::numeric_limits<double>::infinity();
};
inline Vector decide(const Vector& projection, double magnitude, double& margin) {
  Vector signs;
  for (double p : projection) {
    signs.push_back(p < 0.0 ? -1.0 : 1.0);
    margin = std::min(margin, std::abs(p) / magnitude);
  }
  return signs;
}
inline Signs alternating_signs(const Matrix& p1, const Matrix& p2, const Vector& x, int rounds) {
  Signs out;
  Vector b1 = decide(multiply(p1, x), norm(x), out.margin), b2 = decide(multiply(p2, x), norm(x), out.margin);
  for (int round = 0; round < rounds; ++round) {
    Vector back1 = multiply_transposed(p1, b1), back2 = multiply_transposed(p2, b2), rest(x.size());
    double rr = 0.0, xr = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double r = back1[i] + back2[i];
      rr += r * r;
      xr += x[i] * r;
    }
    const double s = rr / xr, magnitude = s * norm(x);
    for (std::size_t i = 0; i < x.size(); ++i) rest[i] = s * x[i] - back2[i];
    b1 = decide(multiply(p1, rest), magnitude, out.margin);
    back1 = multiply_transposed(p1, b1);
    for (std::size_t i = 0; i < x.size(); ++i) rest[i] = s * x[i] - back1[i];
    b2 = decide(multiply(p2, rest), magnitude, out.margin);
  }
  for (const Vector* b : {&b1, &b2}) {
    for (double sign : *b) out.numbers.push_back(sign < 0.0 ? 1 : 0);
  }
  return out;
}
inline Signs plain_signs(const Matrix& p, const Vector& x) {
  Signs out;
  for (double sign : decide(multiply(p, x), norm(x), out.margin)) out.numbers.push_back(sign < 0.0 ? 1 : 0);
  return out;
}

// r = sum_f P_f^T level[c_f]; numbers of the second frame follow those of the first.
inline Vector code_vector(const std::vector<const Matrix*>& frames, const Vector& levels) {
  const std::size_t d = frames[0]->cols;
  Vector r(d);
  for (std::size_t f = 0; f < frames.size(); ++f) {
    const Vector part = multiply_transposed(*frames[f], Vector(levels.begin() + f * d, levels.begin() + (f + 1) * d));
    for (std::size_t i = 0; i < d; ++i) r[i] += part[i];
  }
  return r;
}
inline double closing_scale(const Vector& x, const Vector& r) { return dot(x, x) / dot(x, r); }

// The frames of one codec, and the numbers that a page of rotated codes stands for.
struct Codec {
  Format format;
  std::vector<Matrix> key_frames, value_frames;

  Codec(const Format& f, std::uint64_t seed) : format(f) {
    for (int i = 0; rotated(f.key) && i < frames_of(f.key); ++i) key_frames.push_back(key_frame(seed, i, f.d));
    for (int i = 0; rotated(f.value) && i < 8 * frames_of(f.value); ++i) value_frames.push_back(value_frame(seed, i, f.d));
  }

  std::vector<const Matrix*> frames_of_keys() const {
    std::vector<const Matrix*> out;
    for (const Matrix& p : key_frames) out.push_back(&p);
    return out;
  }
  std::vector<const Matrix*> frames_of_value(int token) const {
    const int parts = frames_of(format.value);
    std::vector<const Matrix*> out;
    for (int part = 0; part < parts; ++part) out.push_back(&value_frames[token % 8 * parts + part]);
    return out;
  }

  Vector key_levels(const Page& page, int token) const {
    const Book b = book(format.key);
    Vector out;
    for (int c = 0; c < format.d * frames_of(format.key); ++c) out.push_back(b.levels[page.key_number(token, c)]);
    return out;
  }
  Vector value_levels(const Page& page, int token) const {
    const Book b = book(format.value);
    Vector out;
    for (int c = 0; c < format.d * frames_of(format.value); ++c) out.push_back(b.levels[page.value_number(token, c)]);
    return out;
  }

  Vector decode_key(const Page& page, int token) const {
    Vector k(format.d);
    if (format.key == Code::f16) {
      for (int c = 0; c < format.d; ++c) k[c] = page.exact_key(token, c);
      return k;
    }
    const Vector r = code_vector(frames_of_keys(), key_levels(page, token)), predicted = predicted_key(page, token);
    for (int c = 0; c < format.d; ++c) k[c] = predicted[c] + page.key_scale(token) * r[c];
    return k;
  }
  Vector decode_value(const Page& page, int token) const {
    Vector v(format.d);
    if (format.value == Code::f16) {
      for (int c = 0; c < format.d; ++c) v[c] = page.exact_value(token, c);
    } else if (format.value == Code::minmax) {
      for (int c = 0; c < format.d; ++c) {
        v[c] = page.value_minimum(token, c) + page.value_step(token, c) * page.minmax_number(token, c);
      }
    } else {
      v = code_vector(frames_of_value(token), value_levels(page, token));
      for (double& x : v) x *= page.value_scale(token);
    }
    return v;
  }
};

}  // namespace oracle
