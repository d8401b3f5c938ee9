// The operations that move lanes: the look-up of a level by the low bits of an index, the 16 x 16 transpose, the sums of 16
// vectors, pairs of numbers.
#if defined(QJL_SIMD_PERMUTE) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_SIMD_PERMUTE
#undef QJL_SIMD_PERMUTE
#else
#define QJL_SIMD_PERMUTE
#endif

#include <cstdint>
#include <type_traits>

#include "codebook.hpp"
#include "lanes.hpp"

QJL_PASS_BEGIN
namespace qjl::simd::QJL_NAMESPACE {

// lookup<Levels>(table, index): entry index mod 16 of a table that repeats its first `Levels` entries, so an index may carry other
// bits above those of the code. lookup<32> and lookup<64> take tables of the positive ones.
#if QJL_LANES == 16

struct Levels {
  NativeF entry;
  explicit Levels(const float (&table)[kTableLevels]) { read(table, entry); }
};
template <int NumLevels>
  requires(NumLevels <= 16)
QJL_INLINE f32x16 lookup(const Levels& table, u32x16 index) {
  return _mm512_permutexvar_ps((__m512i)index, table.entry);
}

QJL_INLINE void transpose16(f32x16 (&row)[16]) {
  __m512 a[16];
  for (int i = 0; i < 16; i += 4) {  // 4 x 4 blocks inside each 128-bit part
    const __m512 t0 = _mm512_unpacklo_ps(row[i], row[i + 1]), t1 = _mm512_unpackhi_ps(row[i], row[i + 1]);
    const __m512 t2 = _mm512_unpacklo_ps(row[i + 2], row[i + 3]), t3 = _mm512_unpackhi_ps(row[i + 2], row[i + 3]);
    a[i] = _mm512_shuffle_ps(t0, t2, 0x44);
    a[i + 1] = _mm512_shuffle_ps(t0, t2, 0xee);
    a[i + 2] = _mm512_shuffle_ps(t1, t3, 0x44);
    a[i + 3] = _mm512_shuffle_ps(t1, t3, 0xee);
  }
  for (int i = 0; i < 4; ++i) {  // then the parts themselves, 4 x 4
    const __m512 low0 = _mm512_shuffle_f32x4(a[i], a[i + 4], 0x88), high0 = _mm512_shuffle_f32x4(a[i], a[i + 4], 0xdd);
    const __m512 low1 = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0x88), high1 = _mm512_shuffle_f32x4(a[i + 8], a[i + 12], 0xdd);
    row[i] = _mm512_shuffle_f32x4(low0, low1, 0x88);
    row[i + 4] = _mm512_shuffle_f32x4(high0, high1, 0x88);
    row[i + 8] = _mm512_shuffle_f32x4(low0, low1, 0xdd);
    row[i + 12] = _mm512_shuffle_f32x4(high0, high1, 0xdd);
  }
}

// Lane i = all lanes of x[i], folded. Each round halves the vectors; a vector then carries twice as many results.
template <typename Fold>
QJL_INLINE f32x16 fold_lanes(const f32x16 (&x)[16], const Fold& fold) {
  const auto by_quarters = [&](__m512 u, __m512 v) {
    return fold(_mm512_shuffle_f32x4(u, v, 0x88), _mm512_shuffle_f32x4(u, v, 0xdd));
  };
  const auto in_quarters = [&](__m512 u, __m512 v) { return fold(_mm512_shuffle_ps(u, v, 0x88), _mm512_shuffle_ps(u, v, 0xdd)); };
  __m512 a[8];
  QJL_UNROLL
  for (int i = 0; i < 8; ++i) a[i] = by_quarters(x[i], x[i + 8]);
  QJL_UNROLL
  for (int i = 0; i < 4; ++i) a[i] = by_quarters(a[i], a[i + 4]);
  const __m512 folded = in_quarters(in_quarters(a[0], a[2]), in_quarters(a[1], a[3]));
  // Quarters hold the results from 0, 8, 4, 12 on, each in the order 0 2 1 3.
  return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15), folded);
}
// Lanes i and i + 8 = all lanes of x[i], folded.
template <typename Fold>
QJL_INLINE f32x16 fold_eight(const f32x16 (&x)[8], const Fold& fold) {
  const auto by_quarters = [&](__m512 u, __m512 v) {
    return fold(_mm512_shuffle_f32x4(u, v, 0x88), _mm512_shuffle_f32x4(u, v, 0xdd));
  };
  __m512 a[4];
  QJL_UNROLL
  for (int i = 0; i < 4; ++i) a[i] = by_quarters(x[i], x[i + 4]);
  const __m512 even = by_quarters(a[0], a[2]), odd = by_quarters(a[1], a[3]);  // quarters: 0 4 2 6, 1 5 3 7
  const __m512 pairs = fold(_mm512_shuffle_ps(even, odd, 0x88), _mm512_shuffle_ps(even, odd, 0xdd));
  const __m512 all = fold(pairs, _mm512_permute_ps(pairs, 0xb1));
  return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 2, 8, 10, 4, 6, 12, 14, 0, 2, 8, 10, 4, 6, 12, 14), all);
}

#elif QJL_LANES == 8

struct Levels {
  NativeF lo, hi;
  explicit Levels(const float (&table)[kTableLevels]) {
    read(table, lo);
    read(table + 8, hi);
  }
};
template <int NumLevels>
QJL_INLINE NativeF lookup8(const Levels& table, NativeU index) {
  const __m256 low = _mm256_permutevar8x32_ps(table.lo, (__m256i)index);
  if constexpr (NumLevels <= 8) return low;
  const __m256 high = _mm256_permutevar8x32_ps(table.hi, (__m256i)index);
  return _mm256_blendv_ps(low, high, (__m256)(index << 28));
}
template <int NumLevels>
  requires(NumLevels <= 16)
QJL_INLINE f32x16 lookup(const Levels& table, u32x16 index) {
  return {lookup8<NumLevels>(table, index.lo), lookup8<NumLevels>(table, index.hi)};
}

QJL_INLINE void transpose8(NativeF (&row)[8]) {
  __m256 a[8];
  for (int i = 0; i < 8; i += 4) {  // 4 x 4 blocks inside each 128-bit part
    const __m256 t0 = _mm256_unpacklo_ps(row[i], row[i + 1]), t1 = _mm256_unpackhi_ps(row[i], row[i + 1]);
    const __m256 t2 = _mm256_unpacklo_ps(row[i + 2], row[i + 3]), t3 = _mm256_unpackhi_ps(row[i + 2], row[i + 3]);
    a[i] = _mm256_shuffle_ps(t0, t2, 0x44);
    a[i + 1] = _mm256_shuffle_ps(t0, t2, 0xee);
    a[i + 2] = _mm256_shuffle_ps(t1, t3, 0x44);
    a[i + 3] = _mm256_shuffle_ps(t1, t3, 0xee);
  }
  for (int i = 0; i < 4; ++i) {  // then the two parts
    row[i] = _mm256_permute2f128_ps(a[i], a[i + 4], 0x20);
    row[i + 4] = _mm256_permute2f128_ps(a[i], a[i + 4], 0x31);
  }
}
QJL_INLINE void transpose16(f32x16 (&row)[16]) {
  NativeF quarter[2][2][8];
  for (int i = 0; i < 16; ++i) {
    quarter[i / 8][0][i % 8] = row[i].lo;
    quarter[i / 8][1][i % 8] = row[i].hi;
  }
  for (auto& half : quarter) {
    for (auto& part : half) transpose8(part);
  }
  for (int i = 0; i < 16; ++i) row[i] = {quarter[0][i / 8][i % 8], quarter[1][i / 8][i % 8]};
}

// Lane i = all lanes of x[i], folded.
template <typename Fold>
QJL_INLINE NativeF fold_lanes8(const f32x16* x, const Fold& fold) {
  NativeF a[8];
  QJL_UNROLL
  for (int i = 0; i < 8; ++i) a[i] = fold(x[i].lo, x[i].hi);
  transpose8(a);
  return fold(fold(fold(a[0], a[4]), fold(a[2], a[6])), fold(fold(a[1], a[5]), fold(a[3], a[7])));
}
template <typename Fold>
QJL_INLINE f32x16 fold_lanes(const f32x16 (&x)[16], const Fold& fold) {
  return {fold_lanes8(x, fold), fold_lanes8(x + 8, fold)};
}

#elif QJL_NEON

// Levels are whole numbers that fit a byte.
struct Levels {
  int8x16_t entry;
  explicit Levels(const float (&table)[kTableLevels]) {
    std::int8_t bytes[16];
    for (int i = 0; i < 16; ++i) bytes[i] = static_cast<std::int8_t>(table[i]);
    entry = vld1q_s8(bytes);
  }
};
// The upper bytes of an index are set, which is beyond the table and gives 0; the level is then the top byte of the lane.
QJL_INLINE NativeF lookup4(const Levels& table, NativeU index) {
  const uint8x16_t at = (uint8x16_t)((index << 24 & (NativeU{} + 0x0f000000u)) | (NativeU{} + 0x00ffffffu));
  return __builtin_convertvector((NativeI)vqtbl1q_s8(table.entry, at) >> 24, NativeF);
}
template <int NumLevels>
  requires(NumLevels <= 16)
QJL_INLINE f32x16 lookup(const Levels& table, u32x16 index) {
  return {{lookup4(table, index.lo.lo), lookup4(table, index.lo.hi)}, {lookup4(table, index.hi.lo), lookup4(table, index.hi.hi)}};
}

QJL_INLINE void transpose4(NativeF& a, NativeF& b, NativeF& c, NativeF& d) {
  const float64x2_t ab0 = (float64x2_t)vtrn1q_f32((float32x4_t)a, (float32x4_t)b);  // a0 b0 a2 b2
  const float64x2_t ab1 = (float64x2_t)vtrn2q_f32((float32x4_t)a, (float32x4_t)b);
  const float64x2_t cd0 = (float64x2_t)vtrn1q_f32((float32x4_t)c, (float32x4_t)d);
  const float64x2_t cd1 = (float64x2_t)vtrn2q_f32((float32x4_t)c, (float32x4_t)d);
  a = (NativeF)vtrn1q_f64(ab0, cd0);
  b = (NativeF)vtrn1q_f64(ab1, cd1);
  c = (NativeF)vtrn2q_f64(ab0, cd0);
  d = (NativeF)vtrn2q_f64(ab1, cd1);
}
QJL_INLINE void transpose16(f32x16 (&row)[16]) {
  NativeF part[16][4];
  for (int i = 0; i < 16; ++i) {
    const NativeF parts[4] = {row[i].lo.lo, row[i].lo.hi, row[i].hi.lo, row[i].hi.hi};
    for (int j = 0; j < 4; ++j) part[4 * j + i % 4][i / 4] = parts[j];
  }
  for (int j = 0; j < 16; j += 4) {
    for (int i = 0; i < 4; ++i) transpose4(part[j][i], part[j + 1][i], part[j + 2][i], part[j + 3][i]);
  }
  for (int i = 0; i < 16; ++i) row[i] = {{part[i][0], part[i][1]}, {part[i][2], part[i][3]}};
}

// Lane i = all lanes of x[i], folded.
template <typename Fold>
QJL_INLINE NativeF fold_lanes4(const f32x16* x, const Fold& fold) {
  NativeF a[4];
  QJL_UNROLL
  for (int i = 0; i < 4; ++i) a[i] = fold(fold(x[i].lo.lo, x[i].lo.hi), fold(x[i].hi.lo, x[i].hi.hi));
  transpose4(a[0], a[1], a[2], a[3]);
  return fold(fold(a[0], a[1]), fold(a[2], a[3]));
}
template <typename Fold>
QJL_INLINE f32x16 fold_lanes(const f32x16 (&x)[16], const Fold& fold) {
  return {{fold_lanes4(x, fold), fold_lanes4(x + 4, fold)}, {fold_lanes4(x + 8, fold), fold_lanes4(x + 12, fold)}};
}

#else

struct Levels {
  const float* entry;
  explicit Levels(const float (&table)[kTableLevels]) : entry(table) {}
};
template <int NumLevels>
  requires(NumLevels <= 16)
QJL_INLINE f32x16 lookup(const Levels& table, u32x16 index) {
  alignas(64) std::uint32_t at[16];
  alignas(64) float level[16];
  store_u32(at, index);
  for (int i = 0; i < 16; ++i) level[i] = table.entry[at[i] % 16];
  return load(level);
}

QJL_INLINE void transpose16(f32x16 (&row)[16]) {
  float in[16][16];
  for (int i = 0; i < 16; ++i) store(in[i], row[i]);
  for (int i = 0; i < 16; ++i) {
    float out[16];
    for (int j = 0; j < 16; ++j) out[j] = in[j][i];
    row[i] = load(out);
  }
}

// Lane i = all lanes of x[i], folded.
template <typename Fold>
QJL_INLINE f32x16 fold_lanes(const f32x16 (&x)[16], const Fold& fold) {
  float folded[16];
  for (int i = 0; i < 16; ++i) {
    const NativeF four = fold(fold(x[i].lo.lo, x[i].lo.hi), fold(x[i].hi.lo, x[i].hi.hi));
    const auto lane = [&](int at) { return NativeF{} + four[at]; };
    folded[i] = fold(fold(lane(0), lane(1)), fold(lane(2), lane(3)))[0];
  }
  return load(folded);
}

#endif

#if QJL_LANES < 16
template <typename Fold>
QJL_INLINE f32x16 fold_eight(const f32x16 (&x)[8], const Fold& fold) {
  const f32x16 twice[16] = {x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]};
  return fold_lanes(twice, fold);
}
#endif

// Lane i = lane i - 1 of x, lane 0 = the last lane of `before`.
#if QJL_LANES == 16
QJL_INLINE u32x16 next_lane(u32x16 x, u32x16 before) { return (u32x16)_mm512_alignr_epi32((__m512i)x, (__m512i)before, 15); }
#elif QJL_LANES == 8
QJL_INLINE NativeU next_lane(NativeU x, NativeU before) {
  const __m256i between = _mm256_permute2x128_si256((__m256i)before, (__m256i)x, 0x21);  // high half of before, low half of x
  return (NativeU)_mm256_alignr_epi8((__m256i)x, between, 12);
}
QJL_INLINE u32x16 next_lane(const u32x16& x, const u32x16& before) { return {next_lane(x.lo, before.hi), next_lane(x.hi, x.lo)}; }
#else
QJL_INLINE NativeU next_lane(NativeU x, NativeU before) { return __builtin_shufflevector(before, x, 3, 4, 5, 6); }
template <typename T>
QJL_INLINE Pair<T> next_lane(const Pair<T>& x, const Pair<T>& before) {
  return {next_lane(x.lo, before.hi), next_lane(x.hi, x.lo)};
}
#endif

// The positive levels of a code of 64, ascending index.
struct WideLevels {
  Levels low, high;
};
template <int NumLevels>
using LevelsOf = std::conditional_t<(NumLevels > 32), WideLevels, Levels>;
template <int NumLevels>
QJL_INLINE LevelsOf<NumLevels> levels_of(const LevelTable& table) {
  if constexpr (NumLevels > 32) {
    return {Levels(table.entry), Levels(table.upper)};
  } else {
    return Levels(table.entry);
  }
}

// The number that the low bits of an index stand for: the positive levels, and their negatives in descending order.
template <int NumLevels>
  requires(NumLevels > 16)
QJL_INLINE f32x16 lookup(const LevelsOf<NumLevels>& positive, u32x16 index) {
  constexpr int kSignBit = NumLevels == 32 ? 4 : 5;
  static_assert(NumLevels == 2 << kSignBit);
  const u32x16 minus = splat_u32(0) - ((index >> kSignBit & splat_u32(1)) ^ splat_u32(1));  // all ones in the lower half
  const u32x16 at = index ^ minus;
  f32x16 level;
  if constexpr (NumLevels == 32) {
    level = lookup<16>(positive, at);
  } else {
    const i32x16 upper = as_i32(splat_u32(0) - (at >> 4 & splat_u32(1)));
    level = select(upper, lookup<16>(positive.high, at), lookup<16>(positive.low, at));
  }
  return as_f32(as_u32(level) ^ (minus & splat_u32(0x80000000u)));
}

struct Add {
  QJL_INLINE NativeF operator()(NativeF a, NativeF b) const { return a + b; }
};
struct Larger {
  QJL_INLINE NativeF operator()(NativeF a, NativeF b) const { return max(a, b); }
};
// Lane i = sum of the lanes of x[i].
QJL_INLINE f32x16 sum_of_lanes(const f32x16 (&x)[16]) { return fold_lanes(x, Add{}); }
// Lanes i and i + 8 = sum of the lanes of x[i]; the largest of them.
QJL_INLINE f32x16 sum_of_lanes(const f32x16 (&x)[8]) { return fold_eight(x, Add{}); }
QJL_INLINE f32x16 max_of_lanes(const f32x16 (&x)[8]) { return fold_eight(x, Larger{}); }

// out[2 i] = a[i], out[2 i + 1] = b[i].
QJL_INLINE void store_pairs(f32x16 a, f32x16 b, float* out) {
#if QJL_LANES == 16
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  store(out, _mm512_permutex2var_ps(a, low, b));
  store(out + 16, _mm512_permutex2var_ps(a, _mm512_add_epi32(low, _mm512_set1_epi32(8)), b));
#else
  float x[16], y[16];
  store(x, a);
  store(y, b);
  for (int i = 0; i < 16; ++i) {
    out[2 * i] = x[i];
    out[2 * i + 1] = y[i];
  }
#endif
}

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END

#endif
