// Scores and weighted sums of up to 64 rows of 16-bit numbers, converted as they are read.
//
//   out[row][t] = <q[row], key[t]>                 rows x keys products of 16 lanes in registers, lanes summed by a tree at the end
//   out[row][c] += sum_t weight[row][t] value[t][c]          rows x channels in registers over all t
//
// A dot is added up in the same order whatever stands beside it. The block that comes next is asked for line by line, so that the
// two streams of keys and values are one block ahead (less and more were slower). Cost: rows * d / 16 multiply-adds a token each,
// one conversion for up to four rows.
#if defined(QJL_TILE_EXACT_ROWS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_TILE_EXACT_ROWS
#undef QJL_TILE_EXACT_ROWS
#else
#define QJL_TILE_EXACT_ROWS
#endif

#include <algorithm>
#include <cstdint>

#include "lanes.hpp"
#include "permute.hpp"
#include "tile/block.hpp"
#include "tile/rows.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// 16-bit rows [count <= 64][d], row t at data + t * stride; the same row of the block to come is `ahead` numbers further, 0 if
// none.
struct ExactBlock {
  const std::uint16_t* data;
  std::int64_t stride;
  DType dtype;
  int count;
  std::int64_t ahead;
};

// What the registers hold beside the operands: 16 vectors of 16 lanes, or 4 of several registers each.
inline constexpr int kExactSums = QJL_LANES == 16 ? 16 : 4;
constexpr int vectors_a_row(int rows) { return rows == 3 ? kExactSums / 4 : kExactSums / rows; }

QJL_INLINE void fetch_line(const std::uint16_t* at, int channel) {
  if (channel % 32 == 0) __builtin_prefetch(at, 0, 2);
}

// lanes[row][key]: products of kKeys keys from `key` on, still to be summed.
template <DType kType, int kRows, int kKeys>
QJL_INLINE void dot_keys(const Rows& q, const ExactBlock& keys, int key, int d, f32x16 (&lanes)[kRows][16]) {
  f32x16 sum[kRows][kKeys];
  QJL_UNROLL
  for (int i = 0; i < kRows * kKeys; ++i) sum[i / kKeys][i % kKeys] = splat(0.0f);
  const std::uint16_t* first = keys.data + key * keys.stride;
  for (int c = 0; c < d; c += 16) {
    QJL_UNROLL
    for (int k = 0; k < kKeys; ++k) {
      const std::uint16_t* at = first + k * keys.stride + c;
      const f32x16 number = load_row(at, kType);
      fetch_line(at + keys.ahead, c);
      QJL_UNROLL
      for (int row = 0; row < kRows; ++row)
        sum[row][k] = fused_multiply_add(load(q.data + row * q.stride + c), number, sum[row][k]);
    }
  }
  QJL_UNROLL
  for (int i = 0; i < kRows * kKeys; ++i) lanes[i / kKeys][(key + i % kKeys) % 16] = sum[i / kKeys][i % kKeys];
}

template <DType kType, int kRows>
inline void score_group(const Rows& q, const ExactBlock& keys, int d, float* out) {
  constexpr int kKeys = vectors_a_row(kRows);
  for (int group = 0; group < kBlockTokens; group += 16) {
    f32x16 lanes[kRows][16];
    const int end = std::min(group + 16, keys.count);
    int key = group;
    if (end < group + 16) {
      QJL_UNROLL
      for (int i = 0; i < 16 * kRows; ++i) lanes[i / 16][i % 16] = splat(0.0f);
    }
    for (; key + kKeys <= end; key += kKeys) dot_keys<kType, kRows, kKeys>(q, keys, key, d, lanes);
    for (; key < end; ++key) dot_keys<kType, kRows, 1>(q, keys, key, d, lanes);
    QJL_UNROLL
    for (int row = 0; row < kRows; ++row) store(out + row * kBlockTokens + group, sum_of_lanes(lanes[row]));
  }
}

// kVectors vectors of channels from `channel` on.
template <DType kType, int kRows, int kVectors>
QJL_INLINE void weigh_channels(const ExactBlock& values, int channel, const float* weights, int d, float* out) {
  f32x16 sum[kRows][kVectors];
  QJL_UNROLL
  for (int i = 0; i < kRows * kVectors; ++i) sum[i / kVectors][i % kVectors] = load(out + i / kVectors * d + 16 * (i % kVectors));
  const std::uint16_t* at = values.data + channel;
  for (int t = 0; t < values.count; ++t, at += values.stride) {
    QJL_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const f32x16 number = load_row(at + 16 * v, kType);
      fetch_line(at + values.ahead + 16 * v, channel + 16 * v);
      QJL_UNROLL
      for (int row = 0; row < kRows; ++row) {
        sum[row][v] = fused_multiply_add(splat(weights[row * kBlockTokens + t]), number, sum[row][v]);
      }
    }
  }
  QJL_UNROLL
  for (int i = 0; i < kRows * kVectors; ++i) store(out + i / kVectors * d + 16 * (i % kVectors), sum[i / kVectors][i % kVectors]);
}

template <DType kType, int kRows>
inline void weigh_group(const ExactBlock& values, const float* weights, int d, float* out) {
  constexpr int kVectors = std::min(8, vectors_a_row(kRows));
  int c = 0;
  for (; c + 16 * kVectors <= d; c += 16 * kVectors) weigh_channels<kType, kRows, kVectors>(values, c, weights, d, out + c);
  for (; c < d; c += 16) weigh_channels<kType, kRows, 1>(values, c, weights, d, out + c);
}

// Calls f<dtype, rows>(row) for groups of up to four rows.
template <DType kType, typename Function>
QJL_INLINE void by_four_rows(int rows, const Function& f) {
  int row = 0;
  for (; row + 4 <= rows; row += 4) f.template operator()<kType, 4>(row);
  switch (rows - row) {
    case 1: return f.template operator()<kType, 1>(row);
    case 2: return f.template operator()<kType, 2>(row);
    case 3: return f.template operator()<kType, 3>(row);
    default: return;
  }
}
template <typename Function>
QJL_INLINE void by_four_rows(DType dtype, int rows, const Function& f) {
  return dtype == DType::bf16 ? by_four_rows<DType::bf16>(rows, f) : by_four_rows<DType::f16>(rows, f);
}

// out [rows][64]: columns from `count` on are 0.
inline void row_scores(const Rows& q, const ExactBlock& keys, int d, float* out) {
  by_four_rows(keys.dtype, q.count, [&]<DType kType, int kRows>(int row) {
    score_group<kType, kRows>({q.data + row * q.stride, q.stride, kRows}, keys, d, out + row * kBlockTokens);
  });
}

// out [rows][d], weights [rows][64].
inline void weigh_rows(const ExactBlock& values, int d, const float* weights, int rows, float* out) {
  by_four_rows(values.dtype, rows, [&]<DType kType, int kRows>(int row) {
    weigh_group<kType, kRows>(values, weights + row * kBlockTokens, d, out + std::int64_t{row} * d);
  });
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
