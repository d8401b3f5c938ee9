// What both exact rivals share: loads of bf16 pairs, 2^x, and the running softmax of a block of 64 scores.
//
//   a block whose maximum exceeds the reference by 2^8 moves it and scales the sum and the output; else the reference stands
//
// Scores are in units of log2. For AVX-512 with BF16.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "target.hpp"

#if defined(__x86_64__)

QJL_TARGET_BEGIN(QJL_TARGET_AVX512BF16)
namespace qjl::bench::bf16 {

inline constexpr int kBlock = 64;

inline __m512bh load_pairs(const std::uint16_t* at) { return (__m512bh)_mm512_loadu_si512(at); }
inline __m512bh splat_pair(std::uint32_t pair) { return (__m512bh)_mm512_set1_epi32(static_cast<int>(pair)); }

// 2^x = 2^floor(x) p(x - floor(x)), p of degree 4 on [0, 1): relative error 4e-6. scalef floors by itself.
inline __m512 exp2_lanes(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, 1);
  __m512 p = _mm512_set1_ps(1.353288378e-02f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.208470130e-02f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.413417706e-01f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.930392219e-01f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.000000443e+00f));
  return _mm512_scalef_ps(p, x);
}

struct RunningSoftmax {
  float *max, *sum, *out;  // out [channels] is scaled when the reference moves
  int channels;
};

// scores [64] become weights 2^(score - max).
inline void softmax_block(float* scores, const RunningSoftmax& state) {
  __m512 s[4];
  for (int k = 0; k < 4; ++k) s[k] = _mm512_load_ps(scores + 16 * k);
  const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(s[0], s[1]), _mm512_max_ps(s[2], s[3])));
  if (largest > *state.max + 8.0f) {
    const float factor = std::exp2(*state.max - largest);
    *state.max = largest;
    *state.sum *= factor;
    for (int c = 0; c < state.channels; c += 16) {
      _mm512_storeu_ps(state.out + c, _mm512_mul_ps(_mm512_loadu_ps(state.out + c), _mm512_set1_ps(factor)));
    }
  }
  const __m512 reference = _mm512_set1_ps(*state.max);
  for (int k = 0; k < 4; ++k) {
    s[k] = exp2_lanes(_mm512_sub_ps(s[k], reference));
    _mm512_store_ps(scores + 16 * k, s[k]);
  }
  *state.sum += _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
}

// Weights of 64 tokens as 32 pairs of bf16.
inline void pack_weights(const float* weights, std::uint32_t* pairs) {
  for (int k = 0; k < 2; ++k) {
    const __m512 low = _mm512_load_ps(weights + 32 * k), high = _mm512_load_ps(weights + 32 * k + 16);
    _mm512_store_si512(pairs + 16 * k, (__m512i)_mm512_cvtne2ps_pbh(high, low));
  }
}

}  // namespace qjl::bench::bf16
QJL_TARGET_END
#endif
