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
#include "codebook.hpp"
#include "lanes.hpp"
#include "page.hpp"
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

// Tables that turn six bits of codes into the level of the field at bit t * bits, or of a window of a string.
template <Code kCode>
struct LevelBytes {
  static constexpr int kBits = traits(kCode).bits;
  static constexpr int kTables = traits(kCode).book == Book::trellis ? 1 : 6 / kBits;
  struct Bytes {
    alignas(64) std::int8_t of[kTables][64];
  };
  static constexpr Bytes bytes() {
    Bytes b{};
    if constexpr (traits(kCode).book == Book::trellis) {  // of a window
      for (int i = 0; i < 64; ++i) b.of[0][i] = static_cast<std::int8_t>(level_of(kCode, trellis(kCode).index(i)));
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
};

// Strings of windows of six bits: four lines, a quad each, of 16 groups of four steps, which are the four blocks.
template <Code kCode, int kBlocks>
  requires(traits(kCode).values == ValueLayout::strings)
struct ValueCodes<kCode, kBlocks> {
  static_assert(kBlocks == 4 && traits(kCode).bits == 2 && trellis(kCode).window_bits == 6);
  static constexpr int kLines = 4;
  __m512i own[4], before[4];  // the byte of each group, and that of the group before it

  // part_before: from these lines to those of the 64 channels before.
  QJL_INLINE void load(const std::uint8_t* lines, std::ptrdiff_t part_before, const TopBits&) {
    QJL_UNROLL
    for (int q = 0; q < 4; ++q) {
      own[q] = _mm512_load_si512(lines + q * layout::kLineBytes);
      before[q] = _mm512_alignr_epi32(own[q], _mm512_load_si512(lines + part_before + q * layout::kLineBytes), 15);
    }
  }
  // The window of a step in the low six bits of each byte; the look-up does not see the others.
  template <int kBits>
  QJL_INLINE __m512i joined(int q) const {
    const __m512i high = _mm512_set1_epi8(static_cast<char>(0xff << kBits));
    return _mm512_ternarylogic_epi64(high, _mm512_slli_epi16(own[q], kBits), _mm512_srli_epi16(before[q], 8 - kBits), 0xca);
  }
  QJL_INLINE __m512i quad(const LevelBytes<kCode>& levels, int block, int q) const {
    const __m512i window = block == 0   ? joined<4>(q)
                           : block == 1 ? joined<2>(q)
                           : block == 2 ? own[q]
                                        : _mm512_srli_epi16(own[q], 2);
    return _mm512_permutexvar_epi8(window, levels.table[0]);
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
    QJL_UNROLL
    for (int block = 0; block < kBlocks; ++block) level[block] = codes.quad(levels, block, q);
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
