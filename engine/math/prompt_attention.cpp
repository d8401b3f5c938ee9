#include "prompt_attention.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "panel_bf16.hpp"
#include "qjl/simd.hpp"
#include "quants.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define QJL_LANES_INLINE [[gnu::always_inline]] inline

namespace qjl::engine {

std::int64_t PromptScratch::bytes() const {
  auto total = (keys.capacity() + values.capacity()) * sizeof(std::uint32_t);
  for (const std::vector<float>& worker : workers) total += worker.capacity() * sizeof(float);
  return static_cast<std::int64_t>(total);
}

#if defined(__x86_64__)

namespace {

constexpr std::int64_t kTileRows = 12, kMaxRows = 96, kKeyBlock = 32, kKeys = 128;

std::int64_t round_up(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }

// What the pieces share.
struct Packed {
  const PromptAttention& p;
  std::uint32_t *keys, *values;
  std::int64_t d, group, padded;  // heads of a group; tokens rounded up to kKeys
  std::int64_t queries_per_piece;

  std::uint32_t* key_block(std::int64_t kv_head, std::int64_t block) const {
    return keys + (kv_head * padded / 2 + block * 16) * d;
  }
  std::uint32_t* value_pair(std::int64_t kv_head, std::int64_t pair) const { return values + (kv_head * padded / 2 + pair) * d; }
};

// One piece's state in a worker's memory; rows beyond the last are zero queries that see nothing.
struct Piece {
  std::int64_t kv_head, first_query, rows;  // row = query * group + head
  float *out, *scores, *max, *sum;          // [kMaxRows][d], [kMaxRows][kKeys], [kMaxRows] twice
  std::uint16_t *queries, *weights;         // [kMaxRows][d], [kMaxRows][kKeys]

  static std::int64_t floats(std::int64_t d) { return kMaxRows * (d + kKeys + 2 + (d + kKeys) / 2); }
  Piece(float* memory, std::int64_t d)
      : out(memory),
        scores(out + kMaxRows * d),
        max(scores + kMaxRows * kKeys),
        sum(max + kMaxRows),
        queries(reinterpret_cast<std::uint16_t*>(sum + kMaxRows)),
        weights(queries + kMaxRows * d) {}
};

}  // namespace

QJL_TARGET_BEGIN(QJL_TARGET_AVX512VBMI ",avx512bf16")
namespace avx512bf16 {

#include "lanes_avx512.hpp"
// the exponential and the tile follow the lanes
#include "lanes_exp.hpp"
// a tile knows only its registers
#include "bf16_tile.hpp"

// Keys and values of 32 tokens of one kv head; tokens beyond the last are zero.
inline void pack_block(const Packed& a, std::int64_t kv_head, std::int64_t block) {
  const std::int64_t width = a.p.num_kv_heads * a.d, offset = kv_head * a.d;
  std::uint32_t* keys = a.key_block(kv_head, block);
  for (std::int64_t j = 0; j < kKeyBlock; ++j) {
    const std::int64_t token = block * kKeyBlock + j;
    for (std::int64_t c = 0; c < a.d; c += 32) {
      alignas(64) std::uint32_t pairs[16] = {};
      if (token < a.p.tokens) {
        auto* rounded = reinterpret_cast<std::uint16_t*>(pairs);
        store_bf16(rounded, load(a.p.keys + token * width + offset + c));
        store_bf16(rounded + 16, load(a.p.keys + token * width + offset + c + 16));
      }
      for (std::int64_t i = 0; i < 16; ++i) keys[(c / 2 + i) * kKeyBlock + j] = pairs[i];
    }
  }
  for (std::int64_t pair = block * kKeyBlock / 2; pair < (block + 1) * kKeyBlock / 2; ++pair) {
    const float* even = a.p.values + 2 * pair * width + offset;
    for (std::int64_t c = 0; c < a.d; c += 16) {
      const F32x16 first = 2 * pair < a.p.tokens ? load(even + c) : broadcast(0.0f);
      const F32x16 second = 2 * pair + 1 < a.p.tokens ? load(even + width + c) : broadcast(0.0f);
      _mm512_storeu_si512(a.value_pair(kv_head, pair) + c, bf16_pairs(first, second));
    }
  }
}

inline void begin(const Packed& a, Piece& piece) {
  const F32x16 scale = broadcast(1.0f / std::sqrt(static_cast<float>(a.d)));
  for (std::int64_t row = 0; row < round_up(piece.rows, kTileRows); ++row) {
    const std::int64_t token = piece.first_query + row / a.group, head = piece.kv_head * a.group + row % a.group;
    const float* query = a.p.queries + (token * a.p.num_heads + head) * a.d;
    for (std::int64_t c = 0; c < a.d; c += 16) {
      store_bf16(piece.queries + row * a.d + c, row < piece.rows ? mul(load(query + c), scale) : broadcast(0.0f));
      store(piece.out + row * a.d + c, broadcast(0.0f));
    }
    piece.max[row] = -std::numeric_limits<float>::infinity();
    piece.sum[row] = 0.0f;
  }
}

// scores[row][key] of the keys from first_key on.
inline void score(const Packed& a, const Piece& piece, std::int64_t first_key, std::int64_t num_keys) {
  for (std::int64_t row = 0; row < piece.rows; row += kTileRows) {
    for (std::int64_t key = 0; key < num_keys; key += kKeyBlock) {
      F32x16 sum[kTileRows][2];
      for (auto& pair : sum) pair[0] = pair[1] = broadcast(0.0f);
      const std::uint32_t* keys = a.key_block(piece.kv_head, (first_key + key) / kKeyBlock);
      add_tile<2, kTileRows>({keys, kKeyBlock, piece.queries + row * a.d, a.d, a.d / 2}, sum);
      for (std::int64_t n = 0; n < kTileRows; ++n) {
        store(piece.scores + (row + n) * kKeys + key, sum[n][0]);
        store(piece.scores + (row + n) * kKeys + key + 16, sum[n][1]);
      }
    }
  }
}

// Weights exp(score - max) of one row's `visible` keys, 0 for the rest; what was summed before shrinks with a new maximum.
inline void softmax_row(const Piece& piece, std::int64_t row, std::int64_t visible, std::int64_t d) {
  std::uint16_t* weights = piece.weights + row * kKeys;
  if (visible <= 0) {
    std::memset(weights, 0, kKeys * sizeof *weights);
    return;
  }
  const F32x16 hidden = broadcast(-std::numeric_limits<float>::infinity());
  F32x16 scores[kKeys / 16], largest = hidden;
  for (std::int64_t i = 0; i < kKeys / 16; ++i) {
    const std::int64_t count = std::clamp<std::int64_t>(visible - 16 * i, 0, 16);
    scores[i] = _mm512_mask_loadu_ps(hidden, static_cast<__mmask16>((1u << count) - 1u), piece.scores + row * kKeys + 16 * i);
    largest = _mm512_max_ps(largest, scores[i]);
  }
  const float before = piece.max[row], now = std::max(before, _mm512_reduce_max_ps(largest));
  F32x16 sum = broadcast(0.0f);
  for (std::int64_t i = 0; i < kKeys / 16; ++i) {
    const F32x16 difference = add(scores[i], broadcast(-now));
    const F32x16 weight =
        _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(difference, broadcast(-87.0f), _CMP_GE_OQ), exponential(difference));
    sum = add(sum, weight);
    store_bf16(weights + 16 * i, weight);
  }
  if (now > before) {
    const float factor = std::exp(before - now);
    piece.max[row] = now;
    piece.sum[row] *= factor;
    for (std::int64_t c = 0; c < d; c += 16) store(piece.out + row * d + c, mul(load(piece.out + row * d + c), broadcast(factor)));
  }
  piece.sum[row] += avx512bf16::sum(sum);
}

inline void weigh(const Packed& a, const Piece& piece, std::int64_t first_key, std::int64_t num_keys) {
  for (std::int64_t row = 0; row < piece.rows; row += kTileRows) {
    for (std::int64_t c = 0; c < a.d; c += 32) {
      F32x16 sum[kTileRows][2];
      for (std::int64_t n = 0; n < kTileRows; ++n) {
        for (std::int64_t v = 0; v < 2; ++v) sum[n][v] = load(piece.out + (row + n) * a.d + c + 16 * v);
      }
      const std::uint32_t* values = a.value_pair(piece.kv_head, first_key / 2) + c;
      add_tile<2, kTileRows>({values, a.d, piece.weights + row * kKeys, kKeys, num_keys / 2}, sum);
      for (std::int64_t n = 0; n < kTileRows; ++n) {
        for (std::int64_t v = 0; v < 2; ++v) store(piece.out + (row + n) * a.d + c + 16 * v, sum[n][v]);
      }
    }
  }
}

inline void attend_piece(const Packed& a, Piece& piece) {
  begin(a, piece);
  const std::int64_t last_query = piece.first_query + (piece.rows - 1) / a.group;
  for (std::int64_t key = 0; key <= last_query; key += kKeys) {
    const std::int64_t num_keys = std::min(kKeys, round_up(last_query + 1 - key, kKeyBlock));
    score(a, piece, key, num_keys);
    for (std::int64_t row = 0; row < round_up(piece.rows, kTileRows); ++row) {
      const std::int64_t query = piece.first_query + row / a.group;
      softmax_row(piece, row, row < piece.rows ? std::min(kKeys, query + 1 - key) : 0, a.d);
    }
    weigh(a, piece, key, num_keys);
  }
  for (std::int64_t row = 0; row < piece.rows; ++row) {
    const std::int64_t token = piece.first_query + row / a.group, head = piece.kv_head * a.group + row % a.group;
    float* out = a.p.out + (token * a.p.num_heads + head) * a.d;
    const F32x16 scale = broadcast(1.0f / piece.sum[row]);
    for (std::int64_t c = 0; c < a.d; c += 16) store(out + c, mul(load(piece.out + row * a.d + c), scale));
  }
}

}  // namespace avx512bf16
QJL_TARGET_END

bool can_attend_prompt(int num_heads, int num_kv_heads, int head_dim) {
  return has_bf16_products() && head_dim % 32 == 0 && num_heads / num_kv_heads <= kMaxRows;
}

void attend_prompt(const PromptAttention& prompt, PromptScratch& scratch, ThreadPool& threads) {
  const std::int64_t d = prompt.head_dim, group = prompt.num_heads / prompt.num_kv_heads, kv_heads = prompt.num_kv_heads;
  const std::int64_t padded = round_up(prompt.tokens, kKeys), blocks = padded / kKeyBlock;
  const auto words = static_cast<std::size_t>(kv_heads * padded / 2 * d);
  for (std::vector<std::uint32_t>* packed : {&scratch.keys, &scratch.values}) {
    if (packed->size() < words) packed->resize(words);
  }
  if (std::ssize(scratch.workers) < threads.num_threads()) scratch.workers.resize(static_cast<std::size_t>(threads.num_threads()));
  const Packed a{prompt, scratch.keys.data(), scratch.values.data(), d, group, padded, kMaxRows / group};
  threads.run(kv_heads * blocks, [&](std::int64_t item, int) { avx512bf16::pack_block(a, item / blocks, item % blocks); });
  const std::int64_t stretches = (prompt.tokens + a.queries_per_piece - 1) / a.queries_per_piece;
  threads.run(kv_heads * stretches, [&](std::int64_t item, int worker) {
    std::vector<float>& memory = scratch.workers[static_cast<std::size_t>(worker)];
    if (std::ssize(memory) < Piece::floats(d)) memory.resize(static_cast<std::size_t>(Piece::floats(d)));
    Piece piece(memory.data(), d);
    piece.kv_head = item % kv_heads;
    piece.first_query = (stretches - 1 - item / kv_heads) * a.queries_per_piece;  // the longest first
    piece.rows = std::min(a.queries_per_piece, prompt.tokens - piece.first_query) * group;
    avx512bf16::attend_piece(a, piece);
  });
}

#else

bool can_attend_prompt(int, int, int) { return false; }
void attend_prompt(const PromptAttention&, PromptScratch&, ThreadPool&) {}

#endif

}  // namespace qjl::engine
