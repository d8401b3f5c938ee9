// The exact rival that people run: bf16 attention of one kv head over plain rows, keys [tokens, head_dim], then values the same.
//
// Scores: 16 tokens at a time, vdpbf16ps along the row, one tree of shuffles sums the lanes of 16 registers. Values: rows widened
// to fp32 and weighted into registers; a tile of channels serves up to four heads. The group shares a block of 64 tokens while it
// is in the first cache. Cost: 4 head_dim bytes a token; twice the instructions of the paired layout and more.
#pragma once

#include "exact_data.hpp"
#include "exact_lanes.hpp"

#if defined(__x86_64__)
QJL_TARGET_BEGIN(QJL_TARGET_AVX512BF16)
namespace qjl::bench::bf16 {

// out[i] = sum of the lanes of x[i], i = 0..15: four rounds, each halves the registers and doubles what a lane stands for.
inline __m512 sum_lanes(__m512* x) {
  for (int i = 0; i < 8; ++i) {
    const __m512 a = x[i], b = x[i + 8];
    x[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));  // quarters: a a b b
  }
  for (int i = 0; i < 4; ++i) {
    const __m512 a = x[i], b = x[i + 4];
    x[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));  // quarters: i, i+8, i+4, i+12
  }
  for (int i = 0; i < 2; ++i) {
    const __m512 a = x[i], b = x[i + 2];
    x[i] = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));  // in a quarter: a a b b
  }
  const __m512 s = _mm512_add_ps(_mm512_shuffle_ps(x[0], x[1], 0x88), _mm512_shuffle_ps(x[0], x[1], 0xdd));
  // Lane 4 q + r holds row quarter[q] + in_quarter[r], quarter = 0, 8, 4, 12, in_quarter = 0, 2, 1, 3.
  const __m512i order = _mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15);
  return _mm512_permutexvar_ps(order, s);
}

template <int D, int G>
struct RowKernel {
  static constexpr int kValueHeads = G % 4 == 0 ? 4 : G;
  static constexpr int kValueVectors = 4;

  alignas(64) float scores[G][kBlock];
  alignas(64) float out[G][D];
  float max[G], sum[G];
  std::int64_t lead;

  void score(const std::uint16_t* keys, const std::uint16_t* queries) {
    for (int token = 0; token < kBlock; token += 16) {
      for (int g = 0; g < G; ++g) {
        __m512bh q[D / 32];
        for (int i = 0; i < D / 32; ++i) q[i] = load_pairs(queries + g * D + 32 * i);
        __m512 acc[16];
        for (int t = 0; t < 16; ++t) {
          const std::uint16_t* row = keys + (token + t) * D;
          acc[t] = _mm512_setzero_ps();
          for (int i = 0; i < D / 32; ++i) {
            if (g == 0) _mm_prefetch(reinterpret_cast<const char*>(row + 32 * i) + lead, _MM_HINT_T1);
            acc[t] = _mm512_dpbf16_ps(acc[t], load_pairs(row + 32 * i), q[i]);
          }
        }
        _mm512_store_ps(scores[g] + token, sum_lanes(acc));
      }
    }
  }

  void weigh_tile(const std::uint16_t* values, int head0, int channel0) {
    __m512 acc[kValueVectors][kValueHeads];
    for (int v = 0; v < kValueVectors; ++v) {
      for (int h = 0; h < kValueHeads; ++h) acc[v][h] = _mm512_load_ps(out[head0 + h] + channel0 + 16 * v);
    }
    for (int token = 0; token < kBlock; ++token) {
      const std::uint16_t* row = values + token * D + channel0;
      if (head0 == 0) _mm_prefetch(reinterpret_cast<const char*>(row) + lead, _MM_HINT_T1);
      if (head0 == 0) _mm_prefetch(reinterpret_cast<const char*>(row + 32) + lead, _MM_HINT_T1);
      for (int v = 0; v < kValueVectors; ++v) {
        const __m256i narrow = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 16 * v));
        const __m512 x = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16));
        for (int h = 0; h < kValueHeads; ++h) acc[v][h] = _mm512_fmadd_ps(x, _mm512_set1_ps(scores[head0 + h][token]), acc[v][h]);
      }
    }
    for (int v = 0; v < kValueVectors; ++v) {
      for (int h = 0; h < kValueHeads; ++h) _mm512_store_ps(out[head0 + h] + channel0 + 16 * v, acc[v][h]);
    }
  }

  void run(const ExactArgs& args) {
    std::memset(out, 0, sizeof out);
    std::fill_n(max, G, -1e30f);
    std::fill_n(sum, G, 0.0f);
    lead = args.prefetch_lead;
    const std::uint16_t *keys = args.cache, *values = keys + args.tokens * D;
    for (std::int64_t token = 0; token < args.tokens; token += kBlock) {
      score(keys + token * D, args.queries);
      for (int g = 0; g < G; ++g) softmax_block(scores[g], {&max[g], &sum[g], out[g], D});
      for (int head0 = 0; head0 < G; head0 += kValueHeads) {
        for (int channel0 = 0; channel0 < D; channel0 += 16 * kValueVectors) weigh_tile(values + token * D, head0, channel0);
      }
    }
    for (int g = 0; g < G; ++g) {
      for (int c = 0; c < D; ++c) args.out[g * D + c] = out[g][c] / sum[g];
    }
  }

  __attribute__((noinline)) static void attend(const ExactArgs& args) {
    RowKernel kernel;
    kernel.run(args);
  }
};

}  // namespace qjl::bench::bf16
QJL_TARGET_END
#endif
