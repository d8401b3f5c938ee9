// What the page mean adds to the scores of a page, and what it predicts of a key. page.hpp says how the mean turns.
//
//   <q, prediction of token 8 j + f> = base[j] + f step[j],   base[j] = K_j,  step[j] = (K_(j+1) - K_j) / 8,  K_n = <q, M_n>
//   K_n = sum over still channels of q m + sum over turning pairs of A cos(angle_n) + B sin(angle_n)
//         A = q1 m1 + q2 m2,  B = q2 m1 - q1 m2
//
// Queries and mean are given in the mean's order of channels (CodecTables::mean_order), so that pairs stand in two runs. Cost per
// page and query: d numbers and two vectors of 16 lanes a turning pair.
#if defined(QJL_TILE_MEAN_LINE) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_TILE_MEAN_LINE
#undef QJL_TILE_MEAN_LINE
#else
#define QJL_TILE_MEAN_LINE
#endif

#include <algorithm>
#include <cstdint>

#include "args.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "permute.hpp"
#include "scratch.hpp"
#include "tile/rows.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// Slot (frame f, lane j), token 8 j + f, gets base[j] + f * step[j].
struct MeanLine {
  float base[16], step[16];
};

// Scores of the 16 slots of a frame from the codes' sums. Every score of a rotated code is made here.
QJL_INLINE f32x16 slot_scores(f32x16 sum, f32x16 scale, const MeanLine& mean, int frame) {
  const f32x16 line = fused_multiply_add(splat(static_cast<float>(frame)), load(mean.step), load(mean.base));
  return fused_multiply_add(sum, scale, line);
}

// x in the mean's order, zero beyond.
inline void order_channels(const CodecTables& tables, const float* x, float* out) {
  const int d = tables.shape.head_dim;
  for (int i = 0; i < d; ++i) out[i] = x[tables.mean_order[i]];
  std::fill_n(out + d, 16, 0.0f);
}

// int8 codes of the mean in its order; whole lines of 64.
#if QJL_VBMI
QJL_INLINE void order_codes(const std::uint8_t* codes, const std::uint8_t* order, int d, std::int8_t* out) {
  __m512i line[4];
  for (int i = 0; i < 4; ++i) line[i] = _mm512_loadu_si512(codes + layout::kLineBytes * (i % (d / layout::kLineBytes)));
  for (int c = 0; c < d; c += layout::kLineBytes) {
    const __m512i at = _mm512_loadu_si512(order + c);
    const __m512i low = _mm512_permutex2var_epi8(line[0], at, line[1]), high = _mm512_permutex2var_epi8(line[2], at, line[3]);
    _mm512_storeu_si512(out + c, _mm512_mask_blend_epi8(_mm512_movepi8_mask(at), low, high));  // bit 7: the upper half of the codes
  }
}
#elif QJL_LANES >= 8
QJL_INLINE void order_codes(const std::uint8_t* codes, const std::uint8_t* order, int d, std::int8_t* out) {
  for (int c = 0; c < d; c += 32) {
    const __m256i at = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(order + c));
    __m256i found = _mm256_setzero_si256();
    for (int first = 0; first < d; first += 16) {  // a look-up into 16 codes gives zero for an index with bit 7: any other code's
      const __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + first)));
      const __m256i index = _mm256_xor_si256(at, _mm256_set1_epi8(static_cast<char>(first)));
      found = _mm256_or_si256(found, _mm256_shuffle_epi8(table, _mm256_adds_epu8(index, _mm256_set1_epi8(0x70))));
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + c), found);
  }
}
#endif

// The mean of a page [d + 16] in its order; zero in channels without a mean and beyond.
inline void decode_mean(const CodecTables& tables, const std::uint8_t* codes, float scale, float* mean) {
  const int d = tables.shape.head_dim, count = tables.mean_channels;
#if QJL_LANES >= 8
  if (d % layout::kLineBytes == 0) {
    alignas(64) std::int8_t ordered[layout::kMaxHeadDim];
    order_codes(codes, tables.mean_order, d, ordered);
    for (int i = 0; i < d; i += 16) store(mean + i, load_i8(ordered + i) * splat(scale));
    return std::fill(mean + count, mean + d + 16, 0.0f);
  }
#endif
  const auto* steps = reinterpret_cast<const std::int8_t*>(codes);
  for (int i = 0; i < count; ++i) mean[i] = scale * static_cast<float>(steps[tables.mean_order[i]]);
  std::fill(mean + count, mean + d + 16, 0.0f);
}

// What a query meets at the middle of the page: <q, mean> over the still channels, and that plus the sum of A (knot 8). Leaves
// A and B of every turning pair side by side.
struct Middle {
  float still, knot;
};
QJL_INLINE Middle split_query(const CodecTables& tables, const float* mean, const float* query, float* turning) {
  const int pairs = tables.turning_pairs;
  f32x16 still = splat(0.0f), middle = splat(0.0f);
  for (int i = 0; i < pairs; i += kLanes) {
    const f32x16 q1 = load(query + i), q2 = load(query + pairs + i), m1 = load(mean + i), m2 = load(mean + pairs + i);
    const f32x16 along = fused_multiply_add(q1, m1, q2 * m2);
    store_pairs(along, q2 * m1 - q1 * m2, turning + 2 * i);
    middle = middle + select(lane_numbers() < splat_i32(pairs - i), along, splat(0.0f));
  }
  for (int c = 2 * pairs; c < tables.mean_channels; c += kLanes) still = fused_multiply_add(load(query + c), load(mean + c), still);
  const float sum = reduce_add(still);
  return {sum, sum + reduce_add(middle)};
}

// From C_n and S_n in lanes 2 n and 2 n + 1, the sums of A cos and B sin at knot n = 0 .. 7. Knots stand symmetric to the middle:
// K_n = C_n + S_n, K_(16-n) = C_n - S_n, and K_8 is the sum of A.
QJL_INLINE void draw_line(f32x16 parts, const Middle& middle, MeanLine& out) {
#if QJL_LANES == 16
  const __m512i cosines = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 0, 14, 12, 10, 8, 6, 4, 2);
  const __m512i sines = _mm512_add_epi32(cosines, _mm512_set1_epi32(1));
  const __m512 c = _mm512_permutexvar_ps(cosines, parts), s = _mm512_permutexvar_ps(sines, parts);
  // Lanes 0 .. 7 are knots 0 .. 7, lane 8 the middle, lanes 9 .. 15 the knots of the same numbers.
  __m512 knots = _mm512_mask_sub_ps(_mm512_add_ps(c, s), 0xff00, c, s);
  knots = _mm512_mask_mov_ps(_mm512_add_ps(knots, splat(middle.still)), 0x0100, splat(middle.knot));
  const __m512 last = _mm512_add_ps(_mm512_sub_ps(c, s), splat(middle.still));  // lane 0: knot 16
  const __m512i next = _mm512_setr_epi32(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
  store(out.base, knots);
  store(out.step, _mm512_sub_ps(_mm512_permutex2var_ps(knots, next, last), knots) * splat(1.0f / layout::kKnotTokens));
#else
  constexpr int kEarly = layout::kMeanKnots / 2;
  alignas(64) float lanes[2 * kEarly], knots[2 * kLanes];
  store(lanes, parts);
  for (int n = 0; n < kEarly; ++n) {
    knots[n] = middle.still + (lanes[2 * n] + lanes[2 * n + 1]);
    knots[layout::kMeanKnots - 1 - n] = middle.still + (lanes[2 * n] - lanes[2 * n + 1]);
  }
  knots[kEarly] = middle.knot;
  store(out.base, load(knots));
  store(out.step, (load(knots + 1) - load(knots)) * splat(1.0f / layout::kKnotTokens));
#endif
}

// The lines of kRows queries.
template <int kRows>
inline void mean_line_group(const CodecTables& tables, const float* mean, const Rows& queries, MeanLine* out) {
  constexpr int kEarly = layout::kMeanKnots / 2;
  alignas(64) float turning[kRows][layout::kMaxHeadDim + 2 * kLanes];
  Middle middle[kRows];
  constexpr int kChains = 4;  // sums of a row, so that additions do not wait for each other
  f32x16 sum[kRows][kChains];
  QJL_UNROLL
  for (int row = 0; row < kRows; ++row) {
    middle[row] = split_query(tables, mean, queries.data + row * queries.stride, turning[row]);
    QJL_UNROLL
    for (int chain = 0; chain < kChains; ++chain) sum[row][chain] = splat(0.0f);
  }
  const int pairs = tables.turning_pairs;
  for (int i = 0; i < pairs; i += kChains) {
    QJL_UNROLL
    for (int chain = 0; chain < kChains; ++chain) {
      if (i + chain >= pairs) break;
      const f32x16 turns = load(tables.early_knots + 2 * kEarly * (i + chain));
      QJL_UNROLL
      for (int row = 0; row < kRows; ++row) {
        sum[row][chain] = fused_multiply_add(splat_pair(turning[row] + 2 * (i + chain)), turns, sum[row][chain]);
      }
    }
  }
  QJL_UNROLL
  for (int row = 0; row < kRows; ++row) {
    draw_line((sum[row][0] + sum[row][1]) + (sum[row][2] + sum[row][3]), middle[row], out[row]);
  }
}

// The lines of `count` queries, in the mean's order.
inline void mean_lines_of(const CodecTables& tables, const float* mean, const Rows& queries, MeanLine* out) {
  const std::int64_t stride = queries.stride;
  const float* q = queries.data;
  int count = queries.count;
  for (; count >= 4; count -= 4, q += 4 * stride, out += 4) mean_line_group<4>(tables, mean, {q, stride, 4}, out);
  switch (count) {
    case 1: return mean_line_group<1>(tables, mean, {q, stride, 1}, out);
    case 2: return mean_line_group<2>(tables, mean, {q, stride, 2}, out);
    case 3: return mean_line_group<3>(tables, mean, {q, stride, 3}, out);
    default: return;
  }
}

// Rows of queries in the mean's order of channels: out [rows][d + 16].
inline Rows order_rows(const CodecTables& tables, const Rows& q, float* out) {
  const Rows ordered{out, tables.shape.head_dim + kLanes, q.count};
  for (int row = 0; row < q.count; ++row) order_channels(tables, q.data + row * q.stride, out + row * ordered.stride);
  return ordered;
}

// The line of every row, from queries in the mean's order.
inline void mean_lines(const CodecTables& tables, const layout::PageHead& head, const std::uint8_t* codes, const Rows& ordered,
                       const AttendScratch& scratch) {
  decode_mean(tables, codes, head.mean_scale, scratch.mean);
  auto* lines = reinterpret_cast<MeanLine*>(scratch.mean_lines);
  mean_lines_of(tables, scratch.mean, ordered, lines);
}

// The key that the mean predicts for a token of the page: out [d], in the order of the head.
inline void predict_key(const CodecTables& tables, const float* mean, int token, float* out) {
  const int pairs = tables.turning_pairs, knot = token / layout::kKnotTokens;
  const float share = static_cast<float>(token % layout::kKnotTokens) * (1.0f / layout::kKnotTokens);
  for (int i = 0; i < pairs; ++i) {
    const float *cosines = tables.knot_cos + i * layout::kKnotStride + knot,
                *sines = tables.knot_sin + i * layout::kKnotStride + knot;
    const float cosine = cosines[0] + share * (cosines[1] - cosines[0]), sine = sines[0] + share * (sines[1] - sines[0]);
    const float m1 = mean[i], m2 = mean[pairs + i];
    out[tables.mean_order[i]] = cosine * m1 - sine * m2;
    out[tables.mean_order[pairs + i]] = sine * m1 + cosine * m2;
  }
  for (int i = 2 * pairs; i < tables.shape.head_dim; ++i) out[tables.mean_order[i]] = mean[i];
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
