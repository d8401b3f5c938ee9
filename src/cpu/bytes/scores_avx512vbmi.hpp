// Sums over the codes of one page by bytes, 64 keys a register, for up to four rows at once.
//
//   s2, l8   sum = step * sum_l table[l][6-bit group l of the key] + offset        vpermb: 64 look-ups; added in u8, then u16
//   l16      sum = step * sum_c q8[c] * (level[c] + 128) + offset                  vpermb to bytes, vpdpbusd with the int8 query
//
// Tables are built once per query. An entry is the group's part of the dot, less its minimum, in steps, rounded. Sets of four
// look-ups (s2) or two (l8) are added before widening: step = max over sets of range / (255.49 - n/2), n = 4 or 2, so that n
// rounded entries never exceed 255. Cost a key and row: one look-up per 6 bits, 1.5 (s2) or 2 (l8) additions per look-up.
#if defined(QJL_BYTES_SCORES_AVX512VBMI) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_BYTES_SCORES_AVX512VBMI
#undef QJL_BYTES_SCORES_AVX512VBMI
#else
#define QJL_BYTES_SCORES_AVX512VBMI
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "bytes/fetch.hpp"
#include "bytes/query.hpp"
#include "bytes/shape.hpp"
#include "codebook.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "permute.hpp"
#include "tile/mean_line.hpp"

#if QJL_VBMI
QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

inline constexpr int kByteShift = 1 << 7;  // makes a signed byte unsigned

// ---- building -----------------------------------------------------------------------------------------------------------------
// Four vectors of numbers 0 .. 255 to 64 bytes in order.
QJL_INLINE __m512i pack_bytes(__m512i a, __m512i b, __m512i c, __m512i d) {  // dwords ordered [quarter of a vector][a b c d]
  return _mm512_packus_epi16(_mm512_packus_epi32(a, b), _mm512_packus_epi32(c, d));
}
QJL_INLINE void store_table(const f32x16 (&entry)[4], std::uint8_t* table) {
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i mixed = pack_bytes(_mm512_cvtps_epi32(entry[0]), _mm512_cvtps_epi32(entry[1]), _mm512_cvtps_epi32(entry[2]),
                                   _mm512_cvtps_epi32(entry[3]));
  _mm512_store_si512(table, _mm512_permutexvar_epi32(order, mixed));
}

// Entry e = sum of sign_k(e) q[at[k]], k = 0 .. 5; bit 0 is plus.
QJL_INLINE void sign_table(const float* q, const std::int16_t (&at)[6], float per_step, std::uint8_t* table) {
  f32x16 low = splat(0.0f);
  float reach = 0.0f;
  const u32x16 lane = as_u32(lane_numbers());
  QJL_UNROLL
  for (int k = 0; k < 6; ++k) reach += std::fabs(q[at[k]]);
  low = splat(reach * per_step);
  QJL_UNROLL
  for (int k = 0; k < 4; ++k) low = fused_multiply_add(sign_of_bit(lane, k), splat(q[at[k]] * per_step), low);
  const f32x16 a = splat(q[at[4]] * per_step), b = splat(q[at[5]] * per_step);
  store_table({low + a + b, low - a + b, low + a - b, low - a - b}, table);
}

// The tables of up to three rows of eight signs: their low six bits each, then their top two bits together.
QJL_INLINE void sign_triple(const float* q, int rows, float per_step, std::uint8_t* tables) {
  for (int row = 0; row < rows; ++row) {
    const std::int16_t first = static_cast<std::int16_t>(8 * row);
    const std::int16_t at[6] = {first,
                                static_cast<std::int16_t>(first + 1),
                                static_cast<std::int16_t>(first + 2),
                                static_cast<std::int16_t>(first + 3),
                                static_cast<std::int16_t>(first + 4),
                                static_cast<std::int16_t>(first + 5)};
    sign_table(q, at, per_step, tables + row * layout::kLineBytes);
  }
  float top[6] = {};  // rows that are not there count nothing
  for (int row = 0; row < rows; ++row) {
    top[2 * row] = q[8 * row + 6];
    top[2 * row + 1] = q[8 * row + 7];
  }
  sign_table(top, {0, 1, 2, 3, 4, 5}, per_step, tables + 3 * layout::kLineBytes);
}

// Four tables of two 3-bit numbers each.
template <Code kCode>
QJL_INLINE void level_triple(const float* q, float per_step, std::uint8_t* tables) {
  alignas(64) static constexpr std::uint32_t kHigh[16] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  const Levels levels(kLevels<kCode>.entry);
  const f32x16 low = lookup<8>(levels, as_u32(lane_numbers()));
  const u32x16 high = load_u32(kHigh);
  QJL_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float a = q[2 * i] * per_step, b = q[2 * i + 1] * per_step;
    const float reach = largest_level(kCode) * (std::fabs(a) + std::fabs(b));
    const f32x16 base = fused_multiply_add(low, splat(a), splat(reach));
    f32x16 entry[4];
    QJL_UNROLL
    for (int v = 0; v < 4; ++v) {
      entry[v] = fused_multiply_add(lookup<8>(levels, high + splat_u32(static_cast<std::uint32_t>(2 * v))), splat(b), base);
    }
    store_table(entry, tables + i * layout::kLineBytes);
  }
}

// sum |q| over all, and the largest sum over a set of `set` neighbours, a multiple of 4.
struct Reach {
  float all, largest_set;
};
inline Reach reach_of(const float* q, int count, int set) {
  alignas(64) float fours[2 * layout::kMaxHeadDim];
  for (int c = 0; c < count; c += 16) {
    f32x16 sum = abs(load(q + c));
    sum = sum + _mm512_permute_ps(sum, 0xb1);
    store(fours + c, sum + _mm512_permute_ps(sum, 0x4e));
  }
  Reach reach{0.0f, 0.0f};
  for (int c = 0; c < count; c += set) {
    float sum = 0.0f;
    for (int i = c; i < std::min(c + set, count); i += 4) sum += fours[i];
    reach.all += sum;
    reach.largest_set = std::max(reach.largest_set, sum);
  }
  return reach;
}

template <Code kCode>
inline void build_tables(const float* q, int coordinates, int row, const BytesQuery& out) {
  constexpr bool kSigned = traits(kCode).book == Book::signs;
  constexpr int kSet = kSigned ? 24 : 4;  // coordinates whose look-ups are added in u8
  constexpr float kLevel = largest_level(kCode), kLookUps = kSigned ? 4.0f : 2.0f;
  const Reach reach = reach_of(q, coordinates, kSet);
  const float step = 2.0f * kLevel * reach.largest_set / (255.49f - 0.5f * kLookUps);
  const float per_step = step > 0.0f ? 1.0f / step : 0.0f;
  out.step[row] = step;
  out.offset[row] = -kLevel * reach.all;
  std::uint8_t* tables = out.bytes + row * out.stride;
  constexpr int kPart = kSigned ? 24 : 8;  // coordinates of three rows of codes
  for (int c = 0; c < coordinates; c += kPart, tables += 4 * layout::kLineBytes) {
    if constexpr (kSigned) {
      sign_triple(q + c, std::min(3, (coordinates - c) / 8), per_step, tables);
    } else {
      level_triple<kCode>(q + c, per_step, tables);
    }
  }
}

// q8 = round(127 q / max|q|).
template <Code kCode>
inline void build_numbers(const float* q, int d, int row, const BytesQuery& out) {
  f32x16 largest = splat(0.0f);
  for (int c = 0; c < d; c += 16) largest = max(largest, abs(load(q + c)));
  const float reach = reduce_max(largest), step = reach / 127.0f;
  const f32x16 per_step = splat(reach > 0.0f ? 127.0f / reach : 0.0f);
  __m512i sum = _mm512_setzero_si512();
  for (int c = 0; c < d; c += 16) {
    const __m512i number = _mm512_cvtps_epi32(load(q + c) * per_step);
    sum = _mm512_add_epi32(sum, number);
    _mm_store_si128(reinterpret_cast<__m128i*>(out.bytes + row * out.stride + c), _mm512_cvtepi32_epi8(number));
  }
  out.step[row] = step;
  out.offset[row] = -static_cast<float>(kByteShift) * step * static_cast<float>(_mm512_reduce_add_epi32(sum));
}

// ---- reading ------------------------------------------------------------------------------------------------------------------
// Gathers the top two bits of the bytes of up to three rows: the fourth 6-bit group.
struct TopBits {
  __m512i first, second, third;
  TopBits() : first(matrix(0)), second(matrix(2)), third(matrix(4)) {}

  // Bits 6, 7 of a byte to bits `at`, at + 1, the rest 0: result bit i is selected by byte 7 - i of the 8 x 8 matrix.
  static __m512i matrix(int at) {
    return _mm512_set1_epi64(static_cast<long long>(std::uint64_t{0x40} << 8 * (7 - at) | std::uint64_t{0x80} << 8 * (6 - at)));
  }
  QJL_INLINE __m512i of(__m512i row0, __m512i row1, __m512i row2) const {
    return _mm512_ternarylogic_epi64(_mm512_gf2p8affine_epi64_epi8(row0, first, 0), _mm512_gf2p8affine_epi64_epi8(row1, second, 0),
                                     _mm512_gf2p8affine_epi64_epi8(row2, third, 0), 0xfe);  // or of three
  }
};

// Sums of bytes kept as 16-bit lanes: even = even bytes + 256 * odd bytes (mod 2^16), odd = odd bytes.
struct WideSum {
  __m512i even, odd;
};
QJL_INLINE void widen(WideSum& sum, __m512i bytes) {
  sum.even = _mm512_add_epi16(sum.even, bytes);
  sum.odd = _mm512_add_epi16(sum.odd, _mm512_srli_epi16(bytes, 8));
}

QJL_INLINE __m512i look_up(__m512i group, const std::uint8_t* table) {
  return _mm512_permutexvar_epi8(group, _mm512_load_si512(table));
}

// The four groups of up to three rows of codes enter the sums of a row.
template <Code kCode, int kCodeRows>
QJL_INLINE void add_groups(const __m512i (&group)[4], const std::uint8_t* tables, WideSum& sum) {
  const __m512i a = look_up(group[0], tables), d = look_up(group[3], tables + 3 * layout::kLineBytes);
  if constexpr (kCodeRows == 1) return widen(sum, _mm512_add_epi8(a, d));
  const __m512i b = look_up(group[1], tables + layout::kLineBytes);
  if constexpr (kCodeRows == 2) return widen(sum, _mm512_add_epi8(_mm512_add_epi8(a, b), d));
  const __m512i c = look_up(group[2], tables + 2 * layout::kLineBytes);
  if constexpr (traits(kCode).book == Book::signs) {
    widen(sum, _mm512_add_epi8(_mm512_add_epi8(a, b), _mm512_add_epi8(c, d)));
  } else {
    widen(sum, _mm512_add_epi8(a, b));
    widen(sum, _mm512_add_epi8(c, d));
  }
}

// kCodeRows rows of codes of both halves: half h at keys + h * kCodeRows lines.
template <Code kCode, int kCodeRows, int kRows>
QJL_INLINE void add_code_rows(const std::uint8_t* keys, const TopBits& top, const std::uint8_t* tables, std::int64_t stride,
                              WideSum (&sum)[layout::kHalves][kRows]) {
  __m512i group[layout::kHalves][4];
  QJL_UNROLL
  for (int half = 0; half < layout::kHalves; ++half) {
    QJL_UNROLL
    for (int i = 0; i < 3; ++i) {
      group[half][i] =
          i < kCodeRows ? _mm512_load_si512(keys + (half * kCodeRows + i) * layout::kLineBytes) : _mm512_setzero_si512();
    }
    group[half][3] = top.of(group[half][0], group[half][1], group[half][2]);
  }
  QJL_UNROLL
  for (int row = 0; row < kRows; ++row) {
    QJL_UNROLL
    for (int half = 0; half < layout::kHalves; ++half)
      add_groups<kCode, kCodeRows>(group[half], tables + row * stride, sum[half][row]);
  }
}

// Four vectors of sums of one half (frames 4h ..) become scores.
QJL_INLINE void store_scores(const __m512i (&sum)[4], const BytesQuery& q, const ScoredPage& page, int row, int half) {
  const __m512 step = _mm512_set1_ps(q.step[row]), offset = _mm512_set1_ps(q.offset[row]);
  QJL_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int frame = 4 * half + i;
    const __m512 dot = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[i]), step, offset);
    store(page.out + row * kPassTokens + layout::kFrameSlots * frame,
          slot_scores(dot, load(page.scales + layout::kFrameSlots * frame), page.mean[row], frame));
  }
}

template <Code kCode, int kRows>
  requires(traits(kCode).keys == KeyLayout::triples || traits(kCode).book == Book::signs)
inline void table_scores(const BytesQuery& q, int num_code_rows, const ScoredPage& page) {
  WideSum sum[layout::kHalves][kRows];
  QJL_UNROLL
  for (int row = 0; row < kRows; ++row) sum[0][row] = sum[1][row] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  const TopBits top;
  const std::uint8_t *keys = page.keys, *tables = q.bytes;
  for (int triple = 0; triple < num_code_rows / 3; ++triple) {
    add_code_rows<kCode, 3, kRows>(keys, top, tables, q.stride, sum);
    kRows == 1 ? page.fetcher->step() : ask<6>(keys, page.ahead);
    keys += 6 * layout::kLineBytes;
    tables += 4 * layout::kLineBytes;
  }
  if (kRows > 1 && num_code_rows % 3 > 0) ask<4>(keys, page.ahead);
  if (num_code_rows % 3 == 1) add_code_rows<kCode, 1, kRows>(keys, top, tables, q.stride, sum);
  if (num_code_rows % 3 == 2) add_code_rows<kCode, 2, kRows>(keys, top, tables, q.stride, sum);
  const __m512i low = _mm512_set1_epi32(0xffff);
  QJL_UNROLL
  for (int row = 0; row < kRows; ++row) {
    QJL_UNROLL
    for (int half = 0; half < layout::kHalves; ++half) {
      const __m512i odd = sum[half][row].odd, even = _mm512_sub_epi16(sum[half][row].even, _mm512_slli_epi16(odd, 8));
      store_scores(
          {_mm512_and_si512(even, low), _mm512_and_si512(odd, low), _mm512_srli_epi32(even, 16), _mm512_srli_epi32(odd, 16)}, q,
          page, row, half);
    }
  }
}

// Levels + 128 by index; the table repeats them, so the bits above an index do not matter.
struct ShiftedLevels {
  alignas(64) std::uint8_t of[64];
};
constexpr ShiftedLevels shifted_levels(Code code) {
  ShiftedLevels levels{};
  for (int i = 0; i < 64; ++i)
    levels.of[i] = static_cast<std::uint8_t>(kByteShift + static_cast<int>(level_of(code, i % (2 * codebook(code).count))));
  return levels;
}
template <Code kCode>
inline constexpr ShiftedLevels kShiftedLevels = shifted_levels(kCode);

// Levels times whole numbers of the query, summed by frame of a half page.
template <int kRows>
struct NumberDots {
  static constexpr int kParts = kRows == 1 ? 2 : 1;  // sums of one row, so that eight dots are always under way
  __m512i sum[kRows * kParts][4];

  NumberDots() {
    QJL_UNROLL
    for (int i = 0; i < 4 * kRows * kParts; ++i) sum[i / 4][i % 4] = _mm512_setzero_si512();
  }
  // level[i]: of frame i, four coordinates a lane, which meet those of the query from `first` on. `turn` counts the calls.
  QJL_INLINE void add(const __m512i (&level)[4], const BytesQuery& q, int first, int turn) {
    QJL_UNROLL
    for (int row = 0; row < kRows; ++row) {
      std::int32_t four;
      std::memcpy(&four, q.bytes + row * q.stride + first, sizeof(four));
      const __m512i query = _mm512_set1_epi32(four);
      QJL_UNROLL
      for (int i = 0; i < 4; ++i) {
        __m512i& to = sum[row * kParts + turn % kParts][i];
        to = _mm512_dpbusd_epi32(to, level[i], query);
      }
    }
  }
  QJL_INLINE void store(const BytesQuery& q, const ScoredPage& page, int half) {
    QJL_UNROLL
    for (int row = 0; row < kRows; ++row) {
      if constexpr (kParts == 2) {
        QJL_UNROLL
        for (int i = 0; i < 4; ++i) sum[row][i] = _mm512_add_epi32(sum[row][i], sum[row + 1][i]);
      }
      store_scores(sum[row * kParts], q, page, row, half);
    }
  }
};

template <Code kCode, int kRows>
  requires(traits(kCode).keys == KeyLayout::words)
inline void word_scores(const BytesQuery& q, int d, const ScoredPage& page) {
  const __m512i levels = _mm512_load_si512(kShiftedLevels<kCode>.of);
  const std::uint8_t* keys = page.keys;
  for (int half = 0; half < layout::kHalves; ++half) {
    NumberDots<kRows> dots;
    for (int word = 0; word < d / 8; ++word, keys += 4 * layout::kLineBytes) {
      __m512i code[4];
      QJL_UNROLL
      for (int i = 0; i < 4; ++i) code[i] = _mm512_load_si512(keys + i * layout::kLineBytes);
      kRows == 1 ? page.fetcher->step() : ask<4>(keys, page.ahead);
      QJL_UNROLL
      for (int nibble = 0; nibble < 2; ++nibble) {
        __m512i level[4];
        QJL_UNROLL
        for (int i = 0; i < 4; ++i) {
          level[i] = _mm512_permutexvar_epi8(nibble == 0 ? code[i] : _mm512_srli_epi16(code[i], 4), levels);
        }
        dots.add(level, q, 8 * word + 4 * nibble, nibble);
      }
    }
    dots.store(q, page, half);
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END
#endif

#endif
