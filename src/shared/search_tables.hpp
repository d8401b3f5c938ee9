// What the encoders of both devices search by, all in whole numbers, so that they write the same bytes.
//
//   levels   candidates of a vector's scale, as thresholds of magnitudes         l4, l8, l16
//   signs    targets, and how much each round of the annealing softens them      s2
#pragma once

#include <cstdint>

#include "codebook.hpp"
#include "hd.hpp"

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

}  // namespace qjl
