// A cache of the KIVI kind (arXiv 2402.02750), ours and minimal: 2-bit numbers by minimum and step, decoded on the fly, AVX-512.
//
//   key   k[t][c] = zero[c] + scale[c] code,  scale and zero per channel and group of 32 tokens
//   value v[t][c] = zero + scale code,        scale and zero per token and group of 32 channels
//
// Both fp16: 3.0 bits a number. A score folds the query into the scales, <q, k> = <q, zero> + sum_c (q[c] scale[c]) code[c], so
// that a token costs one shift, one table and one multiply-add for each channel of 16 tokens. Values weigh codes by (weight *
// scale) and add weight * zero once a group. The published method also keeps the last 128 tokens exact; they are left out here,
// in its favour. For AVX-512 with BF16 (whose helpers it shares).
#pragma once

#include <cmath>

#include "exact_lanes.hpp"

#if defined(__x86_64__)
QJL_TARGET_BEGIN(QJL_TARGET_AVX512BF16)
namespace qjl::bench::bf16 {

// 32 tokens of one kv head. Bits 2i, 2i+1 of a word: token i (keys; high: token 16 + i), channel i of 16 (values).
template <int D>
struct KiviGroup {
  static constexpr int kTokens = 32, kChannels = 32, kParts = D / kChannels;
  std::uint32_t key_low[D], key_high[D];
  std::uint16_t key_scale[D], key_zero[D];
  std::uint32_t value_codes[kParts][kTokens][2];
  std::uint16_t value_scale[kParts][kTokens], value_zero[kParts][kTokens];
};

inline __m512 load_halves(const std::uint16_t* at) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
}
inline void store_halves(std::uint16_t* at, __m512 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
inline __m512i two_bit_shifts() { return _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30); }
// 16 codes of a word as numbers 0 .. 3: a look-up reads only the low two bits of each lane.
inline __m512 codes_of(std::uint32_t word, __m512i shifts) {
  const __m512 levels = _mm512_setr_ps(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
  return _mm512_permutevar_ps(levels, _mm512_srlv_epi32(_mm512_set1_epi32(static_cast<int>(word)), shifts));
}
// round((x - zero) / scale), 0 .. 3.
inline __m512i code_lanes(__m512 x, __m512 zero, __m512 inverse) {
  const __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_sub_ps(x, zero), inverse));
  return _mm512_min_epi32(_mm512_max_epi32(code, _mm512_setzero_si512()), _mm512_set1_epi32(3));
}
inline __m512 inverse_of(__m512 scale) {
  const __mmask16 some = _mm512_cmp_ps_mask(scale, _mm512_setzero_ps(), _CMP_GT_OQ);
  return _mm512_maskz_div_ps(some, _mm512_set1_ps(1.0f), scale);
}

// rows [32, D] of fp32.
template <int D>
void kivi_encode_keys(const float* rows, KiviGroup<D>& group) {
  for (int c = 0; c < D; c += 16) {
    __m512 low = _mm512_loadu_ps(rows + c), high = low;
    for (int t = 1; t < KiviGroup<D>::kTokens; ++t) {
      const __m512 x = _mm512_loadu_ps(rows + t * D + c);
      low = _mm512_min_ps(low, x), high = _mm512_max_ps(high, x);
    }
    store_halves(group.key_zero + c, low);
    store_halves(group.key_scale + c, _mm512_mul_ps(_mm512_sub_ps(high, low), _mm512_set1_ps(1.0f / 3)));
    const __m512 zero = load_halves(group.key_zero + c), inverse = inverse_of(load_halves(group.key_scale + c));
    __m512i words[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (int t = 0; t < KiviGroup<D>::kTokens; ++t) {
      const __m512i code = code_lanes(_mm512_loadu_ps(rows + t * D + c), zero, inverse);
      words[t / 16] = _mm512_or_si512(words[t / 16], _mm512_sllv_epi32(code, _mm512_set1_epi32(2 * (t % 16))));
    }
    _mm512_storeu_si512(group.key_low + c, words[0]);
    _mm512_storeu_si512(group.key_high + c, words[1]);
  }
}

template <int D>
void kivi_encode_values(const float* rows, KiviGroup<D>& group) {
  const __m512i shifts = two_bit_shifts();
  for (int part = 0; part < KiviGroup<D>::kParts; ++part) {
    for (int t = 0; t < KiviGroup<D>::kTokens; ++t) {
      const float* row = rows + t * D + part * KiviGroup<D>::kChannels;
      const __m512 x0 = _mm512_loadu_ps(row), x1 = _mm512_loadu_ps(row + 16);
      const float least = _mm512_reduce_min_ps(_mm512_min_ps(x0, x1)), most = _mm512_reduce_max_ps(_mm512_max_ps(x0, x1));
      group.value_zero[part][t] = _cvtss_sh(least, _MM_FROUND_TO_NEAREST_INT);
      group.value_scale[part][t] = _cvtss_sh((most - least) / 3, _MM_FROUND_TO_NEAREST_INT);
      const __m512 zero = _mm512_set1_ps(_cvtsh_ss(group.value_zero[part][t]));
      const __m512 inverse = inverse_of(_mm512_set1_ps(_cvtsh_ss(group.value_scale[part][t])));
      group.value_codes[part][t][0] =
          static_cast<std::uint32_t>(_mm512_reduce_or_epi32(_mm512_sllv_epi32(code_lanes(x0, zero, inverse), shifts)));
      group.value_codes[part][t][1] =
          static_cast<std::uint32_t>(_mm512_reduce_or_epi32(_mm512_sllv_epi32(code_lanes(x1, zero, inverse), shifts)));
    }
  }
}

template <int D, int G>
struct KiviKernel {
  using Group = KiviGroup<D>;
  alignas(64) float scores[G][kBlock];
  alignas(64) float folded[G][D];
  alignas(64) float out[G][D];
  float max[G], sum[G];

  // Scores of the 32 tokens of a group into scores[g] + at; queries [G, D] hold the softmax scale and log2(e).
  void score(const Group& group, const float* queries, int at) {
    __m512 acc[2][G];
    for (int g = 0; g < G; ++g) {
      __m512 zero_dot = _mm512_setzero_ps();
      for (int c = 0; c < D; c += 16) {
        const __m512 q = _mm512_loadu_ps(queries + g * D + c);
        zero_dot = _mm512_fmadd_ps(q, load_halves(group.key_zero + c), zero_dot);
        _mm512_store_ps(folded[g] + c, _mm512_mul_ps(q, load_halves(group.key_scale + c)));
      }
      acc[0][g] = acc[1][g] = _mm512_set1_ps(_mm512_reduce_add_ps(zero_dot));
    }
    const __m512i shifts = two_bit_shifts();
    for (int c = 0; c < D; ++c) {
      const __m512 low = codes_of(group.key_low[c], shifts), high = codes_of(group.key_high[c], shifts);
      for (int g = 0; g < G; ++g) {
        const __m512 q = _mm512_set1_ps(folded[g][c]);
        acc[0][g] = _mm512_fmadd_ps(low, q, acc[0][g]);
        acc[1][g] = _mm512_fmadd_ps(high, q, acc[1][g]);
      }
    }
    for (int g = 0; g < G; ++g) {
      _mm512_store_ps(scores[g] + at, acc[0][g]);
      _mm512_store_ps(scores[g] + at + 16, acc[1][g]);
    }
  }

  void weigh(const Group& group, int part, int at) {
    alignas(64) float weights[G][Group::kTokens];
    __m512 acc[2][G];
    for (int g = 0; g < G; ++g) {
      __m512 zeros = _mm512_setzero_ps();
      for (int t = 0; t < Group::kTokens; t += 16) {
        const __m512 w = _mm512_load_ps(scores[g] + at + t);
        zeros = _mm512_fmadd_ps(w, load_halves(group.value_zero[part] + t), zeros);
        _mm512_store_ps(weights[g] + t, _mm512_mul_ps(w, load_halves(group.value_scale[part] + t)));
      }
      const __m512 zero = _mm512_set1_ps(_mm512_reduce_add_ps(zeros));
      for (int v = 0; v < 2; ++v) {
        acc[v][g] = _mm512_add_ps(_mm512_load_ps(out[g] + part * Group::kChannels + 16 * v), zero);
      }
    }
    const __m512i shifts = two_bit_shifts();
    for (int t = 0; t < Group::kTokens; ++t) {
      const __m512 x[2] = {codes_of(group.value_codes[part][t][0], shifts), codes_of(group.value_codes[part][t][1], shifts)};
      for (int g = 0; g < G; ++g) {
        const __m512 w = _mm512_set1_ps(weights[g][t]);
        for (int v = 0; v < 2; ++v) acc[v][g] = _mm512_fmadd_ps(x[v], w, acc[v][g]);
      }
    }
    for (int g = 0; g < G; ++g) {
      for (int v = 0; v < 2; ++v) _mm512_store_ps(out[g] + part * Group::kChannels + 16 * v, acc[v][g]);
    }
  }

  // One kv head: groups [tokens / 32], queries and result [G, D].
  void run(const Group* groups, std::int64_t tokens, const float* queries, float* result) {
    std::memset(out, 0, sizeof out);
    std::fill_n(max, G, -1e30f);
    std::fill_n(sum, G, 0.0f);
    for (std::int64_t i = 0; i < tokens / Group::kTokens; i += 2) {
      for (int half = 0; half < 2; ++half) score(groups[i + half], queries, half * Group::kTokens);
      for (int g = 0; g < G; ++g) softmax_block(scores[g], {&max[g], &sum[g], out[g], D});
      for (int half = 0; half < 2; ++half) {
        for (int part = 0; part < Group::kParts; ++part) weigh(groups[i + half], part, half * Group::kTokens);
      }
    }
    for (int g = 0; g < G; ++g) {
      for (int c = 0; c < D; ++c) result[g * D + c] = out[g][c] / sum[g];
    }
  }
};

}  // namespace qjl::bench::bf16
QJL_TARGET_END
#endif
