// Plain signs (s1) and Lloyd-Max codes (l4, l8, l16) of sixteen vectors from y = P x; the CPU's encode/levels.hpp.
//
//   m_c     = min(255, round(64 |y_c|)) at norm sqrt(d)
//   chosen  the candidate scale with the largest (sum m' l)^2 / sum l^2, m' = m div 2; equal ones keep the smaller
//   code    by m_c against the chosen thresholds and the sign of y_c
#pragma once

#include "codebook.hpp"
#include "group.cuh"
#include "search_tables.hpp"

namespace qjl::cuda {

// The constants of a code as a kernel argument: device code cannot index constants of the host.
struct PageBooks {
  int levels;  // positive ones; 1: signs
  int candidates;
  std::uint8_t threshold[kMaxScaleCandidates][kMaxBookLevels - 1];
  std::uint8_t level[kMaxBookLevels];
};
inline PageBooks page_books(Code code) {
  const Codebook& book = codebook(code);
  const ScaleSearch search = scale_search(book);
  PageBooks books{book.count, search.count, {}, {}};
  for (int g = 0; g < search.count; ++g) {
    for (int i = 0; i + 1 < books.levels; ++i) books.threshold[g][i] = search.threshold[g][i];
  }
  for (int i = 0; i < books.levels; ++i) books.level[i] = static_cast<std::uint8_t>(book.level[i]);
  return books;
}

__device__ inline unsigned sign_bit(float y) { return __float_as_uint(y + 0.0f) >> 31; }  // -0 + 0 is 0

// codes <- 1 where y < 0; returns sum |y|.
__device__ inline float take_signs(const Share& me, const float* y, int d, std::uint8_t* codes, float* chains) {
  each_coordinate(me, d,
                  [&](int c) { codes[c * kGroup + me.lane] = static_cast<std::uint8_t>(sign_bit(y[c * kGroup + me.lane])); });
  return sum_of(me, chains, d, [&](int c) { return fabsf(y[c * kGroup + me.lane]); });
}

struct LevelJob {
  const float* y;
  int d;
  float to_unit;
  bool strided;
};
struct LevelSpace {
  std::uint8_t* codes;
  float *cosine, *chains;
};

// How good candidate g is for this lane's vector.
__device__ inline float candidate_cosine(const Share& me, const PageBooks& books, const std::uint8_t* magnitudes, int d, int g) {
  int dot = 0, squares = 0;
  for (int c = 0; c < d; ++c) {
    const int m = magnitudes[c * kGroup + me.lane] >> 1;
    int level = books.level[0];
    for (int i = 0; i + 1 < books.levels; ++i) {
      if (m > books.threshold[g][i] / 2) level = books.level[i + 1];
    }
    dot += m * level;
    squares += level * level;
  }
  const float along = static_cast<float>(dot);
  return along * along / static_cast<float>(squares);
}

// The number that a code index stands for.
__device__ inline float level_number(const PageBooks& books, int code) {
  const int above = code - books.levels;
  return above >= 0 ? static_cast<float>(books.level[above]) : -static_cast<float>(books.level[-1 - above]);
}

// Sum k of <y, level>: coordinates 4 w + k, or 64 b + 16 k + l in the order of w = 16 b + l.
__device__ inline float level_chain(const Share& me, const PageBooks& books, const LevelJob& job, const std::uint8_t* codes,
                                    int k) {
  const auto term = [&](int c) { return job.y[c * kGroup + me.lane] * level_number(books, codes[c * kGroup + me.lane]); };
  float sum = 0.0f;
  if (!job.strided) {
    for (int c = k; c < job.d; c += kChains) sum = sum + term(c);
    return sum;
  }
  for (int first = k * kGroup; first < job.d; first += kChains * kGroup) {
    for (int l = 0; l < kGroup; ++l) sum = sum + term(first + l);
  }
  return sum;
}

// Leaves codes; returns <y, level>. In step at both ends.
__device__ inline float take_levels(const Share& me, const PageBooks& books, const LevelJob& job, const LevelSpace& space) {
  const float factor = job.to_unit * static_cast<float>(kMagnitudeSteps);
  each_coordinate(me, job.d, [&](int c) {  // 2^23 + m has m in its low bits
    const float rounded = fminf(fabsf(job.y[c * kGroup + me.lane]) * factor, 255.0f) + 0x1p23f;
    space.codes[c * kGroup + me.lane] = static_cast<std::uint8_t>(__float_as_uint(rounded));
  });
  __syncthreads();
  for (int g = me.part; g < books.candidates; g += me.parts) {
    space.cosine[g * kGroup + me.lane] = candidate_cosine(me, books, space.codes, job.d, g);
  }
  __syncthreads();
  float best_cosine = -1.0f;
  int best = 0;
  for (int g = 0; g < books.candidates; ++g) {
    const float cosine = space.cosine[g * kGroup + me.lane];
    if (cosine > best_cosine) {
      best_cosine = cosine;
      best = g;
    }
  }
  each_coordinate(me, job.d, [&](int c) {
    const int m = space.codes[c * kGroup + me.lane];
    int above = 0;
    for (int i = 0; i + 1 < books.levels; ++i) above += m > books.threshold[best][i] ? 1 : 0;
    const bool minus = sign_bit(job.y[c * kGroup + me.lane]) != 0;
    space.codes[c * kGroup + me.lane] = static_cast<std::uint8_t>(minus ? books.levels - 1 - above : books.levels + above);
  });
  return sum_chains(me, space.chains, [&](int k) { return level_chain(me, books, job, space.codes, k); });
}

}  // namespace qjl::cuda
