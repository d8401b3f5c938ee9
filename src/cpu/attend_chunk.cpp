// New tokens attend to each other in bf16: the part of an attend that reads no page.
//
//   s[t] = cap(softmax_scale <q, k_t>),  out = sum_t exp(s[t] - max) v_t,  sum = sum_t exp(s[t] - max),  t in the query's window
//
// q (times the scale), k, v and the weights are rounded to bf16; sums, cap and softmax are fp32. Keys and values become pairs once
// a call, as [kv_head][block of 32 keys][d / 2][32] and [kv_head][pair of tokens][d]; a piece is up to 96 rows (queries times heads
// of one group) against 128 keys at a time, with a running maximum. Cost: 4 d flop a pair of query and key, 64 an instruction.
#define QJL_THIS_FILE "attend_chunk.cpp"
#define QJL_ONLY_BF16_PRODUCTS
#include "foreach_target.hpp"
#ifdef QJL_PASS

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "args.hpp"
#include "bf16_tile.hpp"
#include "exp.hpp"
#include "lanes.hpp"
#include "piece.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

constexpr std::int64_t kTileRows = 12, kKeyBlock = kChunkBlockTokens, kKeys = 4 * kKeyBlock;
static_assert(kMaxChunkRows % kTileRows == 0 && kKeys % kKeyBlock == 0);

std::int64_t round_up(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }

struct Numbers {
  const void* data;
  DType dtype;
};

// One call, as all its pieces see it.
struct Chunk {
  const ChunkArgs& args;
  const AttendArgs& a;
  std::int64_t tokens, d, padded;

  explicit Chunk(const ChunkArgs& chunk)
      : args(chunk), a(*chunk.attend), tokens(a.num_queries), d(a.tables->shape.head_dim), padded(round_up(tokens, kKeyBlock)) {}
  std::uint32_t* key_block(std::int64_t kv_head, std::int64_t block) const {
    return args.key_pairs + (kv_head * padded / 2 + block * kKeyBlock / 2) * d;
  }
  std::uint32_t* value_pair(std::int64_t kv_head, std::int64_t pair) const {
    return args.value_pairs + (kv_head * padded / 2 + pair) * d;
  }
};

// One piece's state; rows beyond the last are zero queries that see nothing.
struct Piece : PieceRows {
  float *out, *max, *sum, *scores;   // [kMaxChunkRows][d], [kMaxChunkRows] twice, [kMaxChunkRows][kKeys]
  std::uint16_t *queries, *weights;  // [kMaxChunkRows][d], [kMaxChunkRows][kKeys]

  Piece(const Chunk& chunk, const AttendPiece& p)
      : PieceRows{chunk.a, p, 0, p.num_queries * p.num_heads_in_group},
        out(p.out),
        max(p.max),
        sum(p.sum),
        scores(reinterpret_cast<float*>(p.workspace)),
        queries(reinterpret_cast<std::uint16_t*>(scores + kMaxChunkRows * kKeys)),
        weights(queries + kMaxChunkRows * chunk.d) {}
  int padded_rows() const { return static_cast<int>(round_up(rows, kTileRows)); }
};

inline f32x16 load_numbers(Numbers rows, std::int64_t at) {
  if (rows.dtype == DType::f32) return load(static_cast<const float*>(rows.data) + at);
  return load_row(static_cast<const std::uint16_t*>(rows.data) + at, rows.dtype);
}

inline __m512i larger_magnitude(__m512i largest, __m512 x) {
  return _mm512_max_epu32(largest, _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)));
}

inline std::uint32_t pack_keys(const Chunk& c, int kv_head, std::int64_t block) {
  const ChunkRows& rows = c.args.keys;
  const Numbers numbers{rows.data, rows.dtype};
  std::uint32_t* keys = c.key_block(kv_head, block);
  __m512i largest = _mm512_setzero_si512();
  for (std::int64_t j = 0; j < kKeyBlock; ++j) {
    const std::int64_t token = block * kKeyBlock + j, at = kv_head * rows.head_stride + token * rows.token_stride;
    for (std::int64_t i = 0; i < c.d; i += 32) {
      alignas(64) std::uint32_t pairs[16] = {};
      if (token < c.tokens) {
        auto* rounded = reinterpret_cast<std::uint16_t*>(pairs);
        const __m512 first = load_numbers(numbers, at + i), second = load_numbers(numbers, at + i + 16);
        store_bf16(rounded, first);
        store_bf16(rounded + 16, second);
        largest = larger_magnitude(larger_magnitude(largest, first), second);
      }
      for (std::int64_t p = 0; p < 16; ++p) keys[(i / 2 + p) * kKeyBlock + j] = pairs[p];
    }
  }
  return _mm512_reduce_max_epu32(largest);
}

inline std::uint32_t pack_values(const Chunk& c, int kv_head, std::int64_t block) {
  const ChunkRows& rows = c.args.values;
  const Numbers numbers{rows.data, rows.dtype};
  __m512i largest = _mm512_setzero_si512();
  for (std::int64_t pair = block * kKeyBlock / 2; pair < (block + 1) * kKeyBlock / 2; ++pair) {
    const std::int64_t even = kv_head * rows.head_stride + 2 * pair * rows.token_stride;
    for (std::int64_t i = 0; i < c.d; i += 16) {
      const __m512 first = 2 * pair < c.tokens ? load_numbers(numbers, even + i) : _mm512_setzero_ps();
      const __m512 second = 2 * pair + 1 < c.tokens ? load_numbers(numbers, even + rows.token_stride + i) : _mm512_setzero_ps();
      _mm512_storeu_si512(c.value_pair(kv_head, pair) + i, bf16_pairs(first, second));
      largest = larger_magnitude(larger_magnitude(largest, first), second);
    }
  }
  return _mm512_reduce_max_epu32(largest);
}

inline void begin(const Chunk& c, const Piece& p) {
  const Numbers numbers{c.a.queries, c.a.query_dtype};
  for (int row = 0; row < p.padded_rows(); ++row) {
    const std::int64_t at = query_at(p, row);
    for (std::int64_t i = 0; i < c.d; i += 16) {
      const __m512 scaled =
          row < p.rows ? _mm512_mul_ps(load_numbers(numbers, at + i), _mm512_set1_ps(c.a.softmax_scale)) : _mm512_setzero_ps();
      store_bf16(p.queries + row * c.d + i, scaled);
      _mm512_storeu_ps(p.out + row * c.d + i, _mm512_setzero_ps());
    }
    p.max[row] = -std::numeric_limits<float>::infinity();
    p.sum[row] = 0.0f;
  }
}

// scores[row][key] of the keys from first_key on.
inline void score(const Chunk& c, const Piece& p, std::int64_t first_key, std::int64_t num_keys) {
  for (std::int64_t row = 0; row < p.rows; row += kTileRows) {
    for (std::int64_t key = 0; key < num_keys; key += kKeyBlock) {
      f32x16 sum[kTileRows][2];
      for (auto& pair : sum) pair[0] = pair[1] = _mm512_setzero_ps();
      const std::uint32_t* keys = c.key_block(p.piece.kv_head, (first_key + key) / kKeyBlock);
      add_tile<2, kTileRows>({keys, kKeyBlock, p.queries + row * c.d, c.d, c.d / 2}, sum);
      for (std::int64_t n = 0; n < kTileRows; ++n) {
        _mm512_storeu_ps(p.scores + (row + n) * kKeys + key, sum[n][0]);
        _mm512_storeu_ps(p.scores + (row + n) * kKeys + key + 16, sum[n][1]);
      }
    }
  }
}

// Lanes of the vector from key `at` on that a row sees.
inline __mmask16 lanes_of(Window seen, int at) {
  const auto below = [at](int key) { return (1u << std::clamp(key - at, 0, 16)) - 1u; };
  return static_cast<__mmask16>(below(seen.last + 1) & ~below(seen.first));
}

// Weights exp(score - max) of the keys that one row sees, 0 for the rest; what was summed before shrinks with a new maximum.
inline void softmax_row(const Chunk& c, const Piece& p, std::int64_t row, Window seen) {
  std::uint16_t* weights = p.weights + row * kKeys;
  if (seen.first > seen.last) {
    std::memset(weights, 0, kKeys * sizeof *weights);
    return;
  }
  const bool hides_some = seen.hides_some(kKeys);
  const float cap = c.a.logit_soft_cap;
  const __m512 hidden = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  __m512 scores[kKeys / 16], largest = hidden;
  for (std::int64_t i = 0; i < kKeys / 16; ++i) {
    const __mmask16 lanes = hides_some ? lanes_of(seen, static_cast<int>(16 * i)) : __mmask16{0xffff};
    scores[i] = _mm512_mask_loadu_ps(hidden, lanes, p.scores + row * kKeys + 16 * i);
    if (cap > 0.0f) scores[i] = _mm512_mask_mov_ps(hidden, lanes, tanh(scores[i] / splat(cap)) * splat(cap));
    largest = _mm512_max_ps(largest, scores[i]);
  }
  const float before = p.max[row], now = std::max(before, _mm512_reduce_max_ps(largest));
  __m512 sum = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < kKeys / 16; ++i) {
    const __m512 difference = _mm512_add_ps(scores[i], _mm512_set1_ps(-now));
    const __m512 weight =
        _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(difference, _mm512_set1_ps(-87.0f), _CMP_GE_OQ), exponential(difference));
    sum = _mm512_add_ps(sum, weight);
    store_bf16(weights + 16 * i, weight);
  }
  if (now > before) {
    const float factor = std::exp(before - now);
    p.max[row] = now;
    p.sum[row] *= factor;
    float* out = p.out + row * c.d;
    for (std::int64_t i = 0; i < c.d; i += 16)
      _mm512_storeu_ps(out + i, _mm512_mul_ps(_mm512_loadu_ps(out + i), _mm512_set1_ps(factor)));
  }
  p.sum[row] += _mm512_reduce_add_ps(sum);
}

inline void weigh(const Chunk& c, const Piece& p, std::int64_t first_key, std::int64_t num_keys) {
  for (std::int64_t row = 0; row < p.rows; row += kTileRows) {
    for (std::int64_t i = 0; i < c.d; i += 32) {
      f32x16 sum[kTileRows][2];
      float* out = p.out + row * c.d + i;
      for (std::int64_t n = 0; n < kTileRows; ++n) {
        for (std::int64_t v = 0; v < 2; ++v) sum[n][v] = _mm512_loadu_ps(out + n * c.d + 16 * v);
      }
      const std::uint32_t* values = c.value_pair(p.piece.kv_head, first_key / 2) + i;
      add_tile<2, kTileRows>({values, c.d, p.weights + row * kKeys, kKeys, num_keys / 2}, sum);
      for (std::int64_t n = 0; n < kTileRows; ++n) {
        for (std::int64_t v = 0; v < 2; ++v) _mm512_storeu_ps(out + n * c.d + 16 * v, sum[n][v]);
      }
    }
  }
}

std::size_t chunk_workspace_bytes(int head_dim) {  // scores, queries and weights of a piece
  return static_cast<std::size_t>(kMaxChunkRows) *
         (kKeys * sizeof(float) + (static_cast<std::size_t>(head_dim) + kKeys) * sizeof(std::uint16_t));
}

std::uint32_t pack_chunk(const ChunkArgs& args, int kv_head, std::int64_t block) {
  const Chunk chunk(args);
  const std::uint32_t keys = pack_keys(chunk, kv_head, block), values = pack_values(chunk, kv_head, block);
  return std::max(keys, values);
}

void attend_chunk(const ChunkArgs& args, const AttendPiece& piece) {
  const Chunk chunk(args);
  const Piece p(chunk, piece);
  begin(chunk, p);
  const std::int64_t start = chunk.a.first_query_position;
  const Range range = visible(p);
  for (std::int64_t key = (range.first - start) / kKeyBlock * kKeyBlock; start + key < range.end; key += kKeys) {
    const std::int64_t num_keys = std::min(kKeys, round_up(range.end - start - key, kKeyBlock));
    score(chunk, p, key, num_keys);
    for (int row = 0; row < p.padded_rows(); ++row) {
      softmax_row(chunk, p, row, row < p.rows ? row_window(p, row, start + key, 0, kKeys) : Window{0, -1});
    }
    weigh(chunk, p, key, num_keys);
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
