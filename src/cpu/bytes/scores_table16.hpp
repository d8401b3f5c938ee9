// Sums over the codes of one page by bytes where a look-up takes 16 entries: AVX-512 without VBMI, AVX2 and NEON.
// The seam is that of bytes/scores_avx512vbmi.hpp.
//
//   s2    sum = step * sum_n table[n][nibble n of the key] + offset          four signs a look-up
//   l8    sum = step * sum_c table[c][level of c] + offset                   one number a look-up, its eight levels twice
//   l16   sum = step * sum_c q[c] * level[c]                                 levels by look-up, products with whole numbers q
//
// Tables are built once per query. An entry is its part of the dot, less its minimum, in steps, rounded. Sets of six look-ups (s2:
// three rows) or two (l8) are added in u8: step = max over sets of range / (255.49 - n/2), n = 6 or 2, so that n rounded entries
// never exceed 255. l8 rounds twice as many entries as 64-entry tables, in steps about half as large.
#if defined(QJL_BYTES_SCORES_TABLE16) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_BYTES_SCORES_TABLE16
#undef QJL_BYTES_SCORES_TABLE16
#else
#define QJL_BYTES_SCORES_TABLE16
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "bytes/fetch.hpp"
#include "bytes/index_levels.hpp"
#include "bytes/query.hpp"
#include "bytes/shape.hpp"
#include "bytes/vectors.hpp"
#include "codebook.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "permute.hpp"
#include "tile/mean_line.hpp"

#if QJL_BYTE_LOOPS && !QJL_VBMI
QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// ---- building -----------------------------------------------------------------------------------------------------------------
// sum |q| over all, and the largest sum over a set of `set` neighbours.
struct Reach {
  float all, largest_set;
};
inline Reach reach_of(const float* q, int count, int set) {
  Reach reach{0.0f, 0.0f};
  for (int c = 0; c < count; c += set) {
    float sum = 0.0f;
    for (int i = c; i < std::min(c + set, count); ++i) sum += std::fabs(q[i]);
    reach.all += sum;
    reach.largest_set = std::max(reach.largest_set, sum);
  }
  return reach;
}

// Numbers 0 .. 255 to the nearest byte.
QJL_INLINE void store_table(f32x16 entry, std::uint8_t* table) { store_small(to_i32(entry + splat(0.5f)), table); }

// Entry e = sum of sign_k(e) q[k], k = 0 .. 3; bit 0 is plus.
QJL_INLINE void sign_table(const float* q, float per_step, std::uint8_t* table) {
  const u32x16 lane = as_u32(lane_numbers());
  f32x16 entry = splat((std::fabs(q[0]) + std::fabs(q[1]) + std::fabs(q[2]) + std::fabs(q[3])) * per_step);
  for (int k = 0; k < 4; ++k) entry = fused_multiply_add(sign_of_bit(lane, k), splat(q[k] * per_step), entry);
  store_table(entry, table);
}
template <Code kCode>
QJL_INLINE void level_table(const Levels& levels, float q, float per_step, std::uint8_t* table) {
  const float part = q * per_step, reach = largest_level(kCode) * std::fabs(part);
  store_table(fused_multiply_add(lookup<8>(levels, as_u32(lane_numbers())), splat(part), splat(reach)), table);
}

template <Code kCode>
inline void build_tables(const float* q, int coordinates, int row, const BytesQuery& out) {
  constexpr bool kSigned = traits(kCode).book == Book::signs;
  constexpr int kSet = kSigned ? 24 : 2, kPart = kSigned ? 4 : 1;  // coordinates added in u8; of one look-up
  constexpr float kLevel = largest_level(kCode);
  const Reach reach = reach_of(q, coordinates, kSet);
  const float step = 2.0f * kLevel * reach.largest_set / (255.49f - 0.5f * static_cast<float>(kSet / kPart));
  const float per_step = step > 0.0f ? 1.0f / step : 0.0f;
  const Levels levels(kLevels<kCode>.entry);
  std::uint8_t* tables = out.bytes + row * out.stride;
  for (int c = 0; c < coordinates; c += kPart, tables += kEntries) {
    if constexpr (kSigned) {
      sign_table(q + c, per_step, tables);
    } else {
      level_table<kCode>(levels, q[c], per_step, tables);
    }
  }
  out.step[row] = step;
  out.offset[row] = -kLevel * reach.all;
}

// round(127 q / max |q|).
template <Code kCode>
inline void build_numbers(const float* q, int d, int row, const BytesQuery& out) {
  constexpr float kReach = 127.0f;
  f32x16 largest = splat(0.0f);
  for (int c = 0; c < d; c += 16) largest = max(largest, abs(load(q + c)));
  const float reach = reduce_max(largest);
  const f32x16 per_step = splat(reach > 0.0f ? kReach / reach : 0.0f);
  f32x16 sum = splat(0.0f);
  for (int c = 0; c < d; c += 16) {
    const f32x16 number = round_even(load(q + c) * per_step);
    store_small(to_i32(number), out.bytes + row * out.stride + c);
    sum = sum + number;
  }
  out.step[row] = reach / kReach * kLevelUnit<kCode>;
  out.offset[row] = out.step[row] * -static_cast<float>(kLevelOffset<kCode>) * reduce_add(sum);
}

// ---- reading ------------------------------------------------------------------------------------------------------------------
// Dots [row][frame of the half][16 slots] of one half of a page.
template <int kRows>
struct HalfDots {
  alignas(64) float of[kRows][4][layout::kFrameSlots];

  QJL_INLINE void put(int row, int frame, int vector, NativeI sum, const BytesQuery& q) {
    NativeF step, offset;
    fill(q.step[row], step);
    fill(q.offset[row], offset);
    write(of[row][frame] + vector * QJL_LANES, fused_multiply_add(to_f32(sum), step, offset));
  }
  // Frames from `first` on, of every row.
  template <int kFrames>
  QJL_INLINE void put(int first, int vector, const NativeI (&sum)[kRows][kFrames], const BytesQuery& q) {
    QJL_UNROLL
    for (int i = 0; i < kRows * kFrames; ++i) put(i / kFrames, first + i % kFrames, vector, sum[i / kFrames][i % kFrames], q);
  }
  QJL_INLINE void store_scores(const ScoredPage& page, int half) const {
    for (int row = 0; row < kRows; ++row) {
      for (int i = 0; i < 4; ++i) {
        const int frame = 4 * half + i;
        store(page.out + row * kPassTokens + layout::kFrameSlots * frame,
              slot_scores(load(of[row][i]), load(page.scales + layout::kFrameSlots * frame), page.mean[row], frame));
      }
    }
  }
};

// `kCodeRows` <= 3 rows of signs: two look-ups each.
template <int kCodeRows, int kRows>
QJL_INLINE void add_signs(const std::uint8_t* keys, const std::uint8_t* tables, std::int64_t stride, WideSum (&sum)[kRows]) {
  NativeB nibble[2 * kCodeRows];
  QJL_UNROLL
  for (int i = 0; i < kCodeRows; ++i) {
    const NativeB row = load_bytes(keys + i * layout::kLineBytes);
    nibble[2 * i] = low_bits(row, 15);
    nibble[2 * i + 1] = low_bits(shift_right(row, 4), 15);
  }
  QJL_UNROLL
  for (int row = 0; row < kRows; ++row) {
    const std::uint8_t* table = tables + row * stride;
    NativeB bytes = look_up(load_table(table), nibble[0]);
    QJL_UNROLL
    for (int i = 1; i < 2 * kCodeRows; ++i) bytes += look_up(load_table(table + i * kEntries), nibble[i]);
    widen(sum[row], bytes);
  }
}

// Three rows of 3-bit numbers: eight look-ups. A table repeats its eight entries, so the bit above a number does not matter.
template <int kRows>
QJL_INLINE void add_levels(const std::uint8_t* keys, const std::uint8_t* tables, std::int64_t stride, WideSum (&sum)[kRows]) {
  NativeB group[4];
  QJL_UNROLL
  for (int i = 0; i < 3; ++i) group[i] = load_bytes(keys + i * layout::kLineBytes);
  group[3] = top_bits(group[0], group[1], group[2]);
  QJL_UNROLL
  for (int i = 0; i < 4; ++i) {
    const NativeB first = low_bits(group[i], 15), second = low_bits(shift_right(group[i], 3), 15);
    QJL_UNROLL
    for (int row = 0; row < kRows; ++row) {
      const std::uint8_t* table = tables + row * stride + 2 * i * kEntries;
      widen(sum[row], look_up(load_table(table), first) + look_up(load_table(table + kEntries), second));
    }
  }
}

template <Code kCode, int kRows>
  requires(traits(kCode).keys == KeyLayout::triples || traits(kCode).book == Book::signs)
inline void table_scores(const BytesQuery& q, int num_code_rows, const ScoredPage& page) {
  constexpr bool kSigned = traits(kCode).book == Book::signs;
  constexpr int kTriple = (kSigned ? 6 : 8) * kEntries;
  for (int half = 0; half < layout::kHalves; ++half) {
    HalfDots<kRows> dots;
    for (int vector = 0; vector < kLineVectors; ++vector) {
      WideSum sum[kRows] = {};
      const std::uint8_t *keys = page.keys + half * 3 * layout::kLineBytes + vector * kVectorBytes, *tables = q.bytes;
      for (int triple = 0; triple < num_code_rows / 3; ++triple) {
        if constexpr (kSigned) {
          add_signs<3>(keys, tables, q.stride, sum);
        } else {
          add_levels(keys, tables, q.stride, sum);
        }
        if (vector == 0 && kRows > 1) ask<3>(keys, page.ahead);
        if (vector == 0 && kRows == 1 && (triple + half) % 2 == 0) page.fetcher->step();
        keys += layout::kHalves * 3 * layout::kLineBytes;
        tables += kTriple;
      }
      const int rest = num_code_rows % 3;
      keys += half * (rest - 3) * layout::kLineBytes;
      if (rest > 0 && vector == 0 && kRows > 1) ask<2>(keys, page.ahead);
      if (rest == 1) add_signs<1>(keys, tables, q.stride, sum);
      if (rest == 2) add_signs<2>(keys, tables, q.stride, sum);
      const NativeU low = NativeU{} + 0xffffu;
      QJL_UNROLL
      for (int row = 0; row < kRows; ++row) {
        const NativeU odd = (NativeU)sum[row].odd, even = (NativeU)(sum[row].even - (sum[row].odd << 8));
        dots.put(row, 0, vector, as_i32(even & low), q);
        dots.put(row, 1, vector, as_i32(odd & low), q);
        dots.put(row, 2, vector, as_i32(even >> 16), q);
        dots.put(row, 3, vector, as_i32(odd >> 16), q);
      }
    }
    dots.store_scores(page, half);
  }
}

template <Code kCode, int kRows>
  requires(traits(kCode).keys == KeyLayout::words)
inline void word_scores(const BytesQuery& q, int d, const ScoredPage& page) {
  constexpr int kFrames = kRows > 2 ? 1 : 4 / kRows;  // at a time, so that all sums stay in registers
  const NativeB levels = load_table(kKeyLevels<kCode>.of);
  for (int half = 0; half < layout::kHalves; ++half) {
    HalfDots<kRows> dots;
    for (int part = 0; part < kLineVectors * 4 / kFrames; ++part) {
      const int vector = part * kFrames / 4, frame = part * kFrames % 4;
      NativeI sum[kRows][kFrames] = {};
      const std::uint8_t* keys = page.keys + layout::key_word_offset(d, half, 0, frame) + vector * kVectorBytes;
      const std::uint8_t* numbers = q.bytes;
      for (int word = 0; word < d / 8; ++word, keys += 4 * layout::kLineBytes, numbers += 8) {
        if (vector == 0) kRows == 1 ? page.fetcher->step() : ask<kFrames>(keys, page.ahead);
        QJL_UNROLL
        for (int i = 0; i < kFrames; ++i) {
          const NativeB code = load_bytes(keys + i * layout::kLineBytes);
          const NativeB low = look_up(levels, low_bits(code, 15)), high = look_up(levels, low_bits(shift_right(code, 4), 15));
          QJL_UNROLL
          for (int row = 0; row < kRows; ++row) {
            const auto* four = reinterpret_cast<const std::int8_t*>(numbers + row * q.stride);
            sum[row][i] = add_dot(add_dot(sum[row][i], low, four), high, four + 4);
          }
        }
      }
      dots.put(frame, vector, sum, q);
    }
    dots.store_scores(page, half);
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END
#endif

#endif
