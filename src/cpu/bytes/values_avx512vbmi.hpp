// Weighted sums of the values of up to four pages by bytes: frames[row][f][channel] += scale[row][f] * sum_t w[t] * level[t].
//
// w is an 8-bit weight, level a signed byte: vpdpbusd adds four tokens of a channel at once. A line of codes has lane = channel and
// byte i = token 4 q + i of the frame; a vpermb turns the codes of one quad q into four bytes of levels. Weights are ordered
// [row][frame][quad][page][4 tokens]. Sums of 64 tokens stay below 64 * 255 * 127 < 2^21, then go to fp32.
// Cost a token and row: d / 64 dots; decoding, shared by the rows, about 1.2 times as much.
#if defined(QJL_BYTES_VALUES_AVX512VBMI) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_BYTES_VALUES_AVX512VBMI
#undef QJL_BYTES_VALUES_AVX512VBMI
#else
#define QJL_BYTES_VALUES_AVX512VBMI
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "bytes/fetch.hpp"
#include "bytes/query.hpp"
#include "bytes/scores_avx512vbmi.hpp"
#include "bytes/shape.hpp"
#include "bytes/strings_avx512vbmi.hpp"
#include "codebook.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "tile/strings.hpp"
#include "trellis.hpp"

#if QJL_VBMI
QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// Weights [pages][16 tokens], 0 <= w < 256, of one frame; those of missing pages are not stored or 0.
template <int kPages>
QJL_INLINE void store_weights(const i32x16 (&weight)[kPages], std::uint8_t* out) {
  if constexpr (kPages == 1) {  // the first byte of each dword to the first dword of its quarter
    const __m512i order = _mm512_set4_epi32(-1, -1, -1, 0x0c080400);
    return _mm512_store_si512(out, _mm512_shuffle_epi8((__m512i)weight[0], order));
  }
  const auto page = [&](int i) { return i < kPages ? (__m512i)weight[i] : _mm512_setzero_si512(); };
  _mm512_store_si512(out, pack_bytes(page(0), page(1), page(2), page(3)));
}

// The scale that a frame needs so that these weights, the largest at their slots, fit in bytes: the largest alone (vectors.hpp has
// a target that needs more).
QJL_INLINE f32x16 weight_reach(f32x16 largest) { return largest; }

// Whether a look-up takes the windows of a string themselves, not the indices that these stand for: windows of six bits, as it sees.
template <Code kCode>
inline constexpr bool kLooksUpWindows = trellis(kCode).window_bits == 6 && traits(kCode).bits == 2;

// Tables that turn six bits of codes into the level of the field at bit t * bits, or of a string's window or index.
template <Code kCode>
struct LevelBytes {
  static constexpr int kBits = traits(kCode).bits;
  static constexpr int kTables = traits(kCode).values == ValueLayout::strings ? 1 : 6 / kBits;
  struct Bytes {
    alignas(64) std::int8_t of[kTables][64];
  };
  static constexpr Bytes bytes() {
    Bytes b{};
    if constexpr (traits(kCode).values == ValueLayout::strings) {
      for (int i = 0; i < 64; ++i) {
        const int index = kLooksUpWindows<kCode> ? trellis(kCode).index(i) : i % (2 * codebook(kCode).count);
        b.of[0][i] = static_cast<std::int8_t>(level_of(kCode, index));
      }
      return b;
    }
    for (int t = 0; t < kTables; ++t) {
      for (int i = 0; i < 64; ++i) b.of[t][i] = static_cast<std::int8_t>(level_of(kCode, i >> t * kBits & ((1 << kBits) - 1)));
    }
    return b;
  }
  static constexpr Bytes kBytes = bytes();

  __m512i table[kTables];
  TopBits top;  // of triples
  LevelBytes() {
    for (int t = 0; t < kTables; ++t) table[t] = _mm512_load_si512(kBytes.of[t]);
  }
};

// The lines of kBlocks blocks of 16 channels as registers of codes.
template <Code kCode, int kBlocks>
struct ValueCodes {
  static constexpr ValueLayout kLayout = traits(kCode).values;
  static constexpr int kPerBlock = kLayout == ValueLayout::lines ? 1 : 2;
  static constexpr int kLines = kBlocks * traits(kCode).bits / 2;
  __m512i code[kBlocks * kPerBlock];

  QJL_INLINE void load(const std::uint8_t* lines, std::ptrdiff_t, const TopBits& top) {
    if constexpr (kLayout == ValueLayout::triples) {
      QJL_UNROLL
      for (int pair = 0; pair < kBlocks / 2; ++pair) {
        QJL_UNROLL
        for (int i = 0; i < 3; ++i) code[4 * pair + i] = _mm512_load_si512(lines + (3 * pair + i) * layout::kLineBytes);
        code[4 * pair + 3] = top.of(code[4 * pair], code[4 * pair + 1], code[4 * pair + 2]);
      }
    } else {
      QJL_UNROLL
      for (int i = 0; i < kBlocks * kPerBlock; ++i) code[i] = _mm512_load_si512(lines + i * layout::kLineBytes);
    }
  }
  // Levels of quad q of a block: byte i of a lane is token 4 q + i.
  QJL_INLINE __m512i quad(const LevelBytes<kCode>& levels, int block, int q) const {
    if constexpr (kLayout == ValueLayout::lines) {
      return q < 3 ? _mm512_permutexvar_epi8(code[block], levels.table[q])
                   : _mm512_permutexvar_epi8(_mm512_srli_epi16(code[block], 6), levels.table[0]);
    } else if constexpr (kLayout == ValueLayout::triples) {
      return _mm512_permutexvar_epi8(code[2 * block + q / 2], levels.table[q % 2]);
    } else {
      static_assert(kLayout == ValueLayout::line_pairs);
      const __m512i nibbles = code[2 * block + q / 2];
      return _mm512_permutexvar_epi8(q % 2 == 0 ? nibbles : _mm512_srli_epi16(nibbles, 4), levels.table[0]);
    }
  }
  QJL_INLINE void quads(const LevelBytes<kCode>& levels, int q, __m512i (&level)[kBlocks]) const {
    QJL_UNROLL
    for (int block = 0; block < kBlocks; ++block) level[block] = quad(levels, block, q);
  }
};

// Strings: the four steps of a group are the four blocks. Windows of six bits of two a step need no matrices.
template <Code kCode, int kBlocks>
  requires(traits(kCode).values == ValueLayout::strings)
struct ValueCodes<kCode, kBlocks> {
  static_assert(kBlocks == value_group(traits(kCode)).steps);
  static constexpr int kLines = layout::string_lines(traits(kCode));
  const std::uint8_t* lines;
  std::ptrdiff_t part_before;  // from these lines to those of the 64 channels before

  QJL_INLINE void load(const std::uint8_t* of_part, std::ptrdiff_t before, const TopBits&) {
    lines = of_part, part_before = before;
  }
  QJL_INLINE ValueGroups<kCode, u32x16> groups(int q) const {
    const auto line = [&](int byte) { return lines + layout::string_line(traits(kCode), q, byte) * layout::kLineBytes; };
    const auto own = [&](int byte) { return load_u32(line(byte)); };
    return value_groups<kCode, u32x16>(q, own, [&](int byte) { return next_lane(own(byte), load_u32(line(byte) + part_before)); });
  }
  // The window of a step in the low six bits of each byte; the look-up does not see the others.
  template <int kStep>
  static QJL_INLINE __m512i index(const ValueGroups<kCode, u32x16>& groups) {
    constexpr int kFirst = first_window_bit(kCode, kStep);
    const __m512i own = (__m512i)groups.own[0];
    if constexpr (!kLooksUpWindows<kCode>) {
      return matrix_index<kStep>(groups);
    } else if constexpr (kFirst >= 0) {
      return kFirst == 0 ? own : _mm512_srli_epi16(own, kFirst);
    } else {
      const __m512i high = _mm512_set1_epi8(static_cast<char>(0xff << -kFirst)), before = (__m512i)groups.before;
      return _mm512_ternarylogic_epi64(high, _mm512_slli_epi16(own, -kFirst), _mm512_srli_epi16(before, 8 + kFirst), 0xca);
    }
  }
  QJL_INLINE void quads(const LevelBytes<kCode>& levels, int q, __m512i (&level)[kBlocks]) const {
    const ValueGroups<kCode, u32x16> of_quad = groups(q);
    each_step<kBlocks>([&]<int kStep>() __attribute__((always_inline)) {
      level[kStep] = _mm512_permutexvar_epi8(index<kStep>(of_quad), levels.table[0]);
    });
  }
};

// kBlocks blocks of one frame of one page into the sums of kRows rows; weights of the page's first quad of the frame.
template <Code kCode, int kRows, int kBlocks>
QJL_INLINE void weigh_blocks(const std::uint8_t* lines, std::ptrdiff_t part_before, const LevelBytes<kCode>& levels,
                             const std::uint8_t* weights, __m512i (&sum)[kRows][kBlocks]) {
  ValueCodes<kCode, kBlocks> codes;
  codes.load(lines, part_before, levels.top);
  QJL_UNROLL
  for (int q = 0; q < 4; ++q) {
    __m512i level[kBlocks];
    codes.quads(levels, q, level);
    QJL_UNROLL
    for (int row = 0; row < kRows; ++row) {
      std::int32_t four;
      std::memcpy(&four, weights + row * kPassTokens + 4 * kPassPages * q, sizeof(four));
      const __m512i weight = _mm512_set1_epi32(four);
      QJL_UNROLL
      for (int block = 0; block < kBlocks; ++block) {
        sum[row][block] = _mm512_dpbusd_epi32(sum[row][block], weight, level[block]);
      }
    }
  }
}

// Codes of a page and the frames of a row are walked from front to back, so one offset serves all of either.
template <Code kCode, int kRows>
inline void weigh_group(const layout::PageShape& shape, const WeighedPages& pages) {
  constexpr int kBlocks = 4, kLines = ValueCodes<kCode, kBlocks>::kLines;
  const std::int64_t parts = shape.head_dim / (16 * kBlocks), row_floats = std::int64_t{layout::kFrames} * shape.head_dim;
  const LevelBytes<kCode> levels;
  const std::uint8_t* weights = pages.weights;
  const float* scales = pages.weight_scales;
  float* out = pages.frames;
  std::int64_t at = 0;
  const int count = kRows == 1 ? 1 : pages.count;
  for (int frame = 0; frame < layout::kFrames; ++frame, weights += layout::kLineBytes, ++scales) {
    for (std::int64_t part = 0; part < parts; ++part, at += kLines * layout::kLineBytes, out += 16 * kBlocks) {
      const std::ptrdiff_t part_before = (part == 0 ? parts - 1 : -1) * kLines * layout::kLineBytes;
      __m512i sum[kRows][kBlocks];
      QJL_UNROLL
      for (int i = 0; i < kRows * kBlocks; ++i) sum[i / kBlocks][i % kBlocks] = _mm512_setzero_si512();
      for (int page = 0; page < count; ++page) {
        const std::uint8_t* lines = pages.values[page] + at;
        kRows == 1 ? pages.fetcher->part() : ask<kLines>(lines, pages.ahead[page]);
        weigh_blocks(lines, part_before, levels, weights + 4 * page, sum);
      }
      QJL_UNROLL
      for (int row = 0; row < kRows; ++row) {
        const __m512 scale = _mm512_set1_ps(scales[row * layout::kFrames]);
        float* to = out + row * row_floats;
        QJL_UNROLL
        for (int block = 0; block < kBlocks; ++block) {
          store(to + 16 * block, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[row][block]), scale, load(to + 16 * block)));
        }
      }
    }
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END
#endif

#endif
