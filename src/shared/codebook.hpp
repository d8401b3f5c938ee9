// The level tables of the codes. Levels are integers, so that decoding to bytes is exact; the closing scale is taken with them.
//
//   code index: l4, l8, l16, l32, l64: ascending, 0 = the most negative level; s1, s2: 0 = +1, 1 = -1 (the bit is the sign bit)
//               t2, t2w, t3, t4: of trellis.hpp
//   quantiser:  the nearest level of g |y| sqrt(d) / (unit |P x|), thresholds midway between levels, for a candidate g
//
// `unit` is the real Lloyd-Max level of a standard normal number that the integer 1 stands for. Source: Lloyd 1982; Max 1960.
#pragma once

#include <cstdint>

#include "hd.hpp"
#include "qjl/types.hpp"

namespace qjl {

// Positive levels, ascending. The full table is these with both signs.
inline constexpr int kMaxBookLevels = 8;  // of codes that take the nearest
inline constexpr int kMaxLevels = 32;
struct Codebook {
  int count;  // positive levels; 0: codes without levels
  float unit;
  float level[kMaxLevels];
  // Candidates of the scale g that encoders judge, evenly from `first` to `last`; those of fine codes are in search_tables.hpp.
  int candidates = 0;
  double first = 1.0, last = 1.0;
};

inline constexpr Codebook kNoLevels{0, 1.0f, {}};
inline constexpr Codebook kSigns{1, 1.0f, {1}};
inline constexpr Codebook kL4{2, 0.012587f, {36, 120}, 7, 0.8, 1.25};
inline constexpr Codebook kL8{4, 0.016945f, {14, 45, 79, 127}, 9, 0.8, 1.25};
inline constexpr Codebook kL16{8, 0.021517f, {6, 18, 31, 44, 58, 75, 96, 127}, 16, 0.75, 1.4};
// Of trellis codes: by index, not in order. Their encoder judges no candidates.
inline constexpr Codebook kT2{8, 0.0165682f, {9, 15, 28, 38, 59, 65, 86, 127}};
inline constexpr Codebook kT2w{8, 0.016636f, {6, 16, 25, 39, 51, 68, 84, 127}};
inline constexpr Codebook kT3{16, 0.0208744f, {4, 5, 13, 13, 23, 22, 32, 33, 43, 45, 57, 57, 70, 79, 97, 127}};
inline constexpr Codebook kT4{32, 0.0237924f, {3,  3,  4,  4,  10, 10, 11, 12, 17, 17, 20, 20, 24, 25, 29,  28,
                                               33, 34, 38, 39, 43, 45, 49, 52, 56, 60, 64, 70, 78, 89, 104, 127}};

// Of fine codes: the whole numbers of least distortion.
inline constexpr Codebook kL32{16, 0.0258f, {3, 8, 13, 18, 23, 29, 35, 41, 47, 54, 61, 69, 78, 89, 104, 127}};
inline constexpr Codebook kL64{32, 0.02975f, {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 24, 27, 30, 33,  36,
                                              39, 42, 45, 48, 51, 55, 59, 63, 67, 72, 77, 83, 90, 98, 109, 127}};

constexpr const Codebook& codebook(Code code) {
  switch (code) {
    case Code::f16:
    case Code::jl:
    case Code::minmax: return kNoLevels;
    case Code::s1:
    case Code::s2: return kSigns;
    case Code::l4: return kL4;
    case Code::l8: return kL8;
    case Code::l16: return kL16;
    case Code::t2: return kT2;
    case Code::t2w: return kT2w;
    case Code::t3: return kT3;
    case Code::t4: return kT4;
    case Code::l32: return kL32;
    case Code::l64: return kL64;
  }
  return kNoLevels;
}

constexpr float largest_level(Code code) { return codebook(code).level[codebook(code).count - 1]; }
// Midway between positive levels i and i + 1.
QJL_HD constexpr float threshold(const Codebook& book, int i) { return 0.5f * (book.level[i] + book.level[i + 1]); }

// The number that code index `i` of a frame stands for.
constexpr float level_of(Code code, int i) {
  const Codebook& book = codebook(code);
  if (book.count == 1) return i != 0 ? -1.0f : 1.0f;
  return i < book.count ? -book.level[book.count - 1 - i] : book.level[i - book.count];
}

// Look-up table that repeats the levels of a code: the index needs no mask to the code's width. Of 32 levels it has the positive
// ones, entry i = level_of(16 + i) = -level_of(15 - i); of 64 the first half of these, and the rest in `upper`.
inline constexpr int kTableLevels = 16;
struct LevelTable {
  alignas(64) float entry[kTableLevels];
  float upper[kTableLevels];
};
constexpr LevelTable level_table(Code code) {
  LevelTable table{};
  const int levels = 2 * codebook(code).count;
  for (int i = 0; levels > 0 && i < kTableLevels; ++i) {
    table.entry[i] = level_of(code, levels > kTableLevels ? levels / 2 + i : i % levels);
    if (levels > 2 * kTableLevels) table.upper[i] = level_of(code, levels / 2 + kTableLevels + i);
  }
  return table;
}
template <Code kCode>
inline constexpr LevelTable kLevels = level_table(kCode);

}  // namespace qjl
