// The strongest exact rival: bf16 attention of one kv head with keys and values stored in pairs, for AVX-512 with BF16.
//
//   block of 64 tokens = keys [head_dim / 2][64 tokens][2 channels], values [32][head_dim][2 tokens]
//
// In this layout vdpbf16ps does 32 multiply-adds in one instruction and no sum across lanes is ever needed: scores of 16 tokens, or
// 16 channels of the output, fill a register. All query heads of the group are served while a block is in the first cache. Memory
// is read in address order, each line prefetched a fixed lead ahead. Register tiles, prefetch levels and leads are tried at run
// time (exact_rival.cpp) and the best is the rival. Cost: 4 head_dim bytes a token, head_dim / 8 dot instructions a token and head.
#pragma once

#include "exact_data.hpp"
#include "exact_lanes.hpp"

#if defined(__x86_64__)
QJL_TARGET_BEGIN(QJL_TARGET_AVX512BF16)
namespace qjl::bench::bf16 {

// A tile of kVectors registers by kHeads heads is accumulated at once; scores and values have one each.
template <int D, int G, int kScoreVectors, int kScoreHeads, int kValueVectors, int kValueHeads, auto kHint = _MM_HINT_T1>
struct PairKernel {
  static constexpr int kChannelVectors = D / 16;
  static_assert(G % kScoreHeads == 0 && G % kValueHeads == 0 && kChannelVectors % kValueVectors == 0);
  // Few accumulators leave the dot unit waiting for itself: then even and odd steps have their own.
  static constexpr int kChains = kScoreVectors * kScoreHeads < 8 ? 2 : 1;

  alignas(64) float scores[G][kBlock];
  alignas(64) std::uint32_t weights[G][kBlock / 2];
  alignas(64) float out[G][D];
  float max[G], sum[G];
  const char* ahead;

  // The next line of the stream, once for each line read for the first time.
  void prefetch() {
    _mm_prefetch(ahead, kHint);
    ahead += 64;
  }

  void score(const std::uint16_t* keys, const std::uint32_t* queries) {
    for (int head0 = 0; head0 < G; head0 += kScoreHeads) {
      for (int vector0 = 0; vector0 < 4; vector0 += kScoreVectors) score_tile(keys, queries, head0, vector0);
    }
  }

  void score_tile(const std::uint16_t* keys, const std::uint32_t* queries, int head0, int vector0) {
    __m512 acc[kChains][kScoreVectors][kScoreHeads];
    for (auto& chain : acc) {
      for (auto& row : chain) {
        for (auto& x : row) x = _mm512_setzero_ps();
      }
    }
    for (int pair = 0; pair < D / 2; pair += kChains) {
      for (int chain = 0; chain < kChains; ++chain) {
        __m512bh k[kScoreVectors];
        for (int v = 0; v < kScoreVectors; ++v) {
          k[v] = load_pairs(keys + (pair + chain) * 2 * kBlock + 32 * (vector0 + v));
          if (head0 == 0) prefetch();
        }
        for (int h = 0; h < kScoreHeads; ++h) {
          const __m512bh q = splat_pair(queries[(head0 + h) * (D / 2) + pair + chain]);
          for (int v = 0; v < kScoreVectors; ++v) acc[chain][v][h] = _mm512_dpbf16_ps(acc[chain][v][h], k[v], q);
        }
      }
    }
    for (int h = 0; h < kScoreHeads; ++h) {
      for (int v = 0; v < kScoreVectors; ++v) {
        __m512 s = acc[0][v][h];
        if constexpr (kChains == 2) s = _mm512_add_ps(s, acc[1][v][h]);
        _mm512_store_ps(scores[head0 + h] + 16 * (vector0 + v), s);
      }
    }
  }

  void weigh(const std::uint16_t* values) {
    for (int head0 = 0; head0 < G; head0 += kValueHeads) {
      for (int vector0 = 0; vector0 < kChannelVectors; vector0 += kValueVectors) weigh_tile(values, head0, vector0);
    }
  }

  void weigh_tile(const std::uint16_t* values, int head0, int vector0) {
    __m512 acc[kValueVectors][kValueHeads];
    for (int v = 0; v < kValueVectors; ++v) {
      for (int h = 0; h < kValueHeads; ++h) acc[v][h] = _mm512_load_ps(out[head0 + h] + 16 * (vector0 + v));
    }
    for (int pair = 0; pair < kBlock / 2; ++pair) {
      __m512bh x[kValueVectors];
      for (int v = 0; v < kValueVectors; ++v) {
        x[v] = load_pairs(values + pair * 2 * D + 32 * (vector0 + v));
        if (head0 == 0) prefetch();
      }
      for (int h = 0; h < kValueHeads; ++h) {
        const __m512bh w = splat_pair(weights[head0 + h][pair]);
        for (int v = 0; v < kValueVectors; ++v) acc[v][h] = _mm512_dpbf16_ps(acc[v][h], x[v], w);
      }
    }
    for (int v = 0; v < kValueVectors; ++v) {
      for (int h = 0; h < kValueHeads; ++h) _mm512_store_ps(out[head0 + h] + 16 * (vector0 + v), acc[v][h]);
    }
  }

  void run(const ExactArgs& args) {
    std::memset(out, 0, sizeof out);
    std::fill_n(max, G, -1e30f);
    std::fill_n(sum, G, 0.0f);
    ahead = reinterpret_cast<const char*>(args.cache) + args.prefetch_lead;
    const auto* queries = reinterpret_cast<const std::uint32_t*>(args.queries);
    for (std::int64_t token = 0; token < args.tokens; token += kBlock) {
      const std::uint16_t* block = args.cache + 2 * token * D;
      score(block, queries);
      for (int g = 0; g < G; ++g) {
        softmax_block(scores[g], {&max[g], &sum[g], out[g], D});
        pack_weights(scores[g], weights[g]);
      }
      weigh(block + kBlock * D);
    }
    for (int g = 0; g < G; ++g) {
      for (int c = 0; c < D; ++c) args.out[g * D + c] = out[g][c] / sum[g];
    }
  }

  __attribute__((noinline)) static void attend(const ExactArgs& args) {
    PairKernel kernel;
    kernel.run(args);
  }
};

}  // namespace qjl::bench::bf16
QJL_TARGET_END
#endif
