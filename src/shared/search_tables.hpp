// What the encoders of both devices search by, all in whole numbers, so that they write the same bytes.
//
//   levels   candidates of a vector's scale, as thresholds of magnitudes         l4, l8, l16
//   signs    targets, and how much each round of the annealing softens them      s2
//   fine     candidates of a vector's scale, as steps of the stored ones         l32, l64
//   trellis  levels in whole steps, the index of every window                    t2, t2w, t3, t4
#pragma once

#include <cstdint>

#include "codebook.hpp"
#include "hd.hpp"
#include "trellis.hpp"

namespace qjl {

// ---- levels: cpu/encode/levels.hpp, cuda/encode/code_levels.cuh -----------------------------------------------------------
// Magnitudes are whole numbers: 255 / 64 is above every threshold, and above all but 1 in 10^4 of normal numbers.
inline constexpr int kMagnitudeSteps = 64;
inline constexpr int kMaxScaleCandidates = 16;

// threshold[g][i] = floor(64 threshold_i unit / g): a magnitude above it takes a level above i.
struct ScaleSearch {
  int count;
  std::uint8_t threshold[kMaxScaleCandidates][kMaxBookLevels - 1];
};
constexpr ScaleSearch scale_search(const Codebook& book) {
  ScaleSearch search{book.candidates, {}};
  for (int g = 0; g < book.candidates; ++g) {
    const double candidate = book.first + (book.last - book.first) * g / (book.candidates - 1);
    for (int i = 0; i + 1 < book.count; ++i) {
      search.threshold[g][i] =
          static_cast<std::uint8_t>(kMagnitudeSteps * double{threshold(book, i)} * double{book.unit} / candidate);
    }
  }
  return search;
}
template <Code kCode>
inline constexpr ScaleSearch kScaleSearch = scale_search(codebook(kCode));

// ---- signs: cpu/encode/signs.hpp, cuda/encode/code_signs.cuh ---------------------------------------------------------------
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

// ---- fine: cpu/encode/fine_levels.hpp ---------------------------------------------------------------------------------------
// Steps of 2^(1/32) from the scale that suits normal numbers; an error along the vector counts as so many across it: in a score it
// adds to those of all coordinates.
inline constexpr int kFineFirst = -11, kFineLast = 4;
inline constexpr float kFineAlong = 8.0f;

// ---- trellis: cpu/encode/trellis.hpp ----------------------------------------------------------------------------------------
inline constexpr float kTrellisSteps = 8192;     // of a standard deviation
inline constexpr int kTrellisReach = 24;         // steps on either side of the string's ends that choose the state there
inline constexpr int kTrellisElsewhere = 40000;  // cost of beginning in another state: no path from there is the cheapest
struct TrellisTables {
  std::int16_t level[2 * kMaxLevels];  // in steps, by index
  std::uint8_t index[1 << kMaxWindowBits];
  int farthest;  // y is taken as this at most: .73 beyond the largest level
};
constexpr TrellisTables trellis_tables(Code code) {
  TrellisTables tables{};
  const Codebook& book = codebook(code);
  for (int i = 0; i < 2 * book.count; ++i) {
    const float level = level_of(code, i) * book.unit * kTrellisSteps;
    tables.level[i] = static_cast<std::int16_t>(level < 0 ? level - 0.5f : level + 0.5f);
  }
  for (int w = 0; w < 1 << trellis(code).window_bits; ++w) tables.index[w] = static_cast<std::uint8_t>(trellis(code).index(w));
  const int farthest = tables.level[2 * book.count - 1] + 6000;
  tables.farthest = farthest < 32767 ? farthest : 32767;
  return tables;
}
constexpr int trellis_states(Code code) { return 1 << (trellis(code).window_bits - traits(code).bits); }
// A survivor is k bits, in slots of a power of two; 16-bit halves of words hold as many as fit.
constexpr int survivor_bits(Code code) { return traits(code).bits <= 2 ? 2 : 4; }
constexpr int survivor_words(Code code) {
  return traits(code).book == Book::trellis ? trellis_states(code) * survivor_bits(code) / 16 : 0;
}

}  // namespace qjl
