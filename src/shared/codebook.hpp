// The level tables of the codes. Levels are integers, so that decoding to bytes is exact; the closing scale is taken with them.
//
//   code index: l4, l8, l16: ascending, 0 = the most negative level; s1, s2: 0 = +1, 1 = -1 (the bit is the sign bit)
//   quantiser:  the nearest level of g |y| sqrt(d) / (unit |P x|), thresholds midway between levels, for a candidate g
//
// `unit` is the real Lloyd-Max level of a standard normal number that the integer 1 stands for. Source: Lloyd 1982; Max 1960.
#pragma once

#include <cstdint>

#include "hd.hpp"
#include "qjl/types.hpp"

namespace qjl {

// Positive levels, ascending. The full table is these with both signs.
struct Codebook {
  int count;  // positive levels: 2, 4 or 8
  float unit;
  float level[8];
};

inline constexpr Codebook kL4{2, 0.012587f, {36, 120}};
inline constexpr Codebook kL8{4, 0.016945f, {14, 45, 79, 127}};
inline constexpr Codebook kL16{8, 0.021517f, {6, 18, 31, 44, 58, 75, 96, 127}};
inline constexpr Codebook kSigns{1, 1.0f, {1}};

constexpr const Codebook& codebook(Code code) {
  switch (code) {
    case Code::l4: return kL4;
    case Code::l8: return kL8;
    case Code::l16: return kL16;
    default: return kSigns;
  }
}

// Midway between positive levels i and i + 1.
QJL_HD constexpr float threshold(const Codebook& book, int i) { return 0.5f * (book.level[i] + book.level[i + 1]); }

// The number that code index `i` of a frame stands for.
constexpr float level_of(Code code, int i) {
  const Codebook& book = codebook(code);
  if (book.count == 1) return i != 0 ? -1.0f : 1.0f;
  return i < book.count ? -book.level[book.count - 1 - i] : book.level[i - book.count];
}

// Look-up table of 16 entries that repeats the levels: the index needs no mask to the width of the code.
struct LevelTable {
  alignas(64) float entry[16];
};
constexpr LevelTable level_table(Code code) {
  LevelTable table{};
  const int levels = 2 * codebook(code).count;
  for (int i = 0; i < 16; ++i) table.entry[i] = level_of(code, i % levels);
  return table;
}
inline constexpr LevelTable kLevels4 = level_table(Code::l4), kLevels8 = level_table(Code::l8), kLevels16 = level_table(Code::l16);

// ---- how l4, l8, l16 are searched (cpu/encode_levels.hpp)
// ------------------------------------------------------------------------- Magnitudes are whole numbers: 255 / 64 is above every
// threshold, and above all but 1 in 10^4 of normal numbers.
inline constexpr int kMagnitudeSteps = 64;
inline constexpr int kMaxScaleCandidates = 16;

// threshold[g][i] = floor(64 threshold_i unit / g): a magnitude above it takes a level above i.
struct ScaleSearch {
  int count;
  std::uint8_t threshold[kMaxScaleCandidates][7];
};
QJL_HD constexpr ScaleSearch scale_search_table(const Codebook& book, int count, double first, double last) {
  ScaleSearch search{count, {}};
  for (int g = 0; g < count; ++g) {
    const double candidate = first + (last - first) * g / (count - 1);
    for (int i = 0; i + 1 < book.count; ++i) {
      search.threshold[g][i] =
          static_cast<std::uint8_t>(kMagnitudeSteps * double{threshold(book, i)} * double{book.unit} / candidate);
    }
  }
  return search;
}
inline constexpr ScaleSearch kSearch4 = scale_search_table(kL4, 7, 0.8, 1.25), kSearch8 = scale_search_table(kL8, 9, 0.8, 1.25),
                             kSearch16 = scale_search_table(kL16, 16, 0.75, 1.4);
constexpr const ScaleSearch& scale_search(Code code) {
  return code == Code::l4 ? kSearch4 : code == Code::l8 ? kSearch8 : kSearch16;
}

// ---- how s2 is searched (encode/signs.hpp, code_signs.cuh) ----------------------------------------------------------------------
// Targets are 4 u s y in whole numbers, made of steps of u / 8; round r softens by 2^(log2 u - cooling[r]), the last one not.
inline constexpr float kSignScale = 1.6f;
inline constexpr int kSoftMax = 4;
inline constexpr int kTargetSteps = 8;
inline constexpr int kTargetMax = 1 << 14;
inline constexpr int kCrossUnit = 512;  // u of dense frames
struct Annealing {
  int cooling[9];
};
inline constexpr Annealing kAnnealing = {{0, 0, 1, 1, 1, 1, 2, 2, 9}};

}  // namespace qjl
