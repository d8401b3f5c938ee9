// The codes in doubles: x^ = scale * sum_f P_f^T level[c_f]. What each encoder chooses is in oracle_encoders.hpp.
//
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

// Candidates of a scale, evenly from first to last.
struct Candidates {
  int count;
  double first, last;
};
// Integer levels, ascending, the length of one step in units of a standard normal, and what an encoder tries.
struct Book {
  std::vector<int> levels;
  double step = 1.0;
  Candidates candidates = {};
};
inline Book book(Code code) {
  switch (code) {
    case Code::s1:
    case Code::s2: return {{1, -1}, 1.0};  // number 1 is minus
    case Code::l4: return {{-120, -36, 36, 120}, .012587, {7, 0.8, 1.25}};
    case Code::l8: return {{-127, -79, -45, -14, 14, 45, 79, 127}, .016945, {9, 0.8, 1.25}};
    case Code::t2: return {{-127, -86, -65, -59, -38, -28, -15, -9, 9, 15, 28, 38, 59, 65, 86, 127}, .0165682};
    case Code::t2w: return {{-127, -84, -68, -51, -39, -25, -16, -6, 6, 16, 25, 39, 51, 68, 84, 127}, .016636};
    case Code::t3:
      return {{-127, -97, -79, -70, -57, -57, -45, -43, -33, -32, -22, -23, -13, -13, -5, -4,
               4,    5,   13,  13,  23,  22,  32,  33,  43,  45,  57,  57,  70,  79,  97, 127},
              .0208744};
    case Code::l32:
      return {{-127, -104, -89, -78, -69, -61, -54, -47, -41, -35, -29, -23, -18, -13, -8,  -3,
               3,    8,    13,  18,  23,  29,  35,  41,  47,  54,  61,  69,  78,  89,  104, 127},
              .0258};
    case Code::l64:
      return {{-127, -109, -98, -90, -83, -77, -72, -67, -63, -59, -55, -51, -48, -45, -42, -39, -36, -33, -30, -27, -24, -21,
               -19,  -17,  -15, -13, -11, -9,  -7,  -5,  -3,  -1,  1,   3,   5,   7,   9,   11,  13,  15,  17,  19,  21,  24,
               27,   30,   33,  36,  39,  42,  45,  48,  51,  55,  59,  63,  67,  72,  77,  83,  90,  98,  109, 127},
              .02975};
    case Code::t4:
      return {{-127, -104, -89, -78, -70, -64, -60, -56, -52, -49, -45, -43, -39, -38, -34, -33, -28, -29, -25, -24, -20, -20,
               -17,  -17,  -12, -11, -10, -10, -4,  -4,  -3,  -3,  3,   3,   4,   4,   10,  10,  11,  12,  17,  17,  20,  20,
               24,   25,   29,  28,  33,  34,  38,  39,  43,  45,  49,  52,  56,  60,  64,  70,  78,  89,  104, 127},
              .0237924};
    default: return {{-127, -96, -75, -58, -44, -31, -18, -6, 6, 18, 31, 44, 58, 75, 96, 127}, .021517, {16, 0.75, 1.4}};
  }
}

inline Vector levels_of(const Book& b, const std::vector<int>& numbers) {
  Vector out;
  for (int number : numbers) out.push_back(b.levels[number]);
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
