// Lloyd-Max codes (l4, l8, l16) and plain signs (s1) of 16 vectors, from y = P x.
//
//   m_c      = min(255, round(64 |y_c|)) at norm sqrt(d)
//   l_g(m)   = the level that candidate g of the scale gives: as many thresholds T_g[i] = floor(64 edge_i unit / g) as m is above
//   chosen   the g with the largest (sum m' l)^2 / sum l^2, m' = m div 2 against T_g div 2; equal ones keep the smaller g
//   code     by m_c against the chosen thresholds and the sign of y_c
//
// Judging a candidate is whole numbers in bytes, 64 at a time; the scale is taken with y itself. search_tables.hpp has the
// candidates.
#if defined(QJL_ENCODE_LEVELS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ENCODE_LEVELS
#undef QJL_ENCODE_LEVELS
#else
#define QJL_ENCODE_LEVELS
#endif

#include <cstdint>

#include "codebook.hpp"
#include "dots.hpp"
#include "encode/words.hpp"
#include "lanes.hpp"
#include "permute.hpp"
#include "search_tables.hpp"
#include "small.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// Code words [word][16], the bytes 0 or 1.
inline void sign_words(const WordOrder& order, const float* y, std::uint32_t* words) {
  const f32x16 zero = splat(0.0f);
  for (int w = 0; w < order.words(); ++w) {
    const u32x16 signs = make_word(order, w, [&](int c) { return as_u32(load(y + c * 16) + zero) >> 31; });  // -0 + 0 is 0
    store_u32(words + w * 16, signs);
  }
}

// Code indices of the magnitudes to those of the numbers: bytes that are 1 in `minus` become the complement, in kBits bits.
template <int kBits>
QJL_INLINE u32x16 with_signs(const u32x16& codes, const u32x16& minus) {
  return codes ^ ((minus << kBits) - minus);
}

// m_c, bytes of words. 2^23 + m has m in its low bits.
inline void magnitude_words(const WordOrder& order, const float* y, const f32x16& factor, std::uint32_t* words) {
  for (int w = 0; w < order.words(); ++w) {
    const u32x16 magnitudes = make_word(order, w, [&](int c) {
      return as_u32(min(abs(load(y + c * 16)) * factor, splat(255.0f)) + splat(0x1p23f)) & splat_u32(255);
    });
    store_u32(words + w * 16, magnitudes);
  }
}

// The thresholds of each lane's best candidate, in bytes.
template <int Count>
struct Thresholds {
  u32x16 above[Count - 1];
};

template <int Count>
inline Thresholds<Count> search_scale(const ScaleSearch& search, const Codebook& book, const WordOrder& order,
                                      const std::uint32_t* magnitudes) {
  const int num_words = order.words(), unused = num_words * 4 - order.coordinates;
  const auto smallest = static_cast<std::uint32_t>(book.level[0]);
  Thresholds<Count> best;
  f32x16 best_cosine = splat(-1.0f);
  for (int g = 0; g < search.count; ++g) {
    const std::uint8_t* at = search.threshold[g];
    u32x16 above[Count - 1], step[Count - 1];
    QJL_UNROLL
    for (int i = 0; i + 1 < Count; ++i) {
      above[i] = splat_8(at[i] / 2);
      step[i] = splat_8(static_cast<int>(book.level[i + 1] - book.level[i]));
    }
    u32x16 dot = splat_u32(0), squares = splat_u32(0);
    for (int w = 0; w < num_words; ++w) {
      const u32x16 m = load_u32(magnitudes + w * 16) >> 1 & splat_8(127);
      u32x16 level = splat_8(static_cast<int>(book.level[0]));
      QJL_UNROLL
      for (int i = 0; i + 1 < Count; ++i) level = add8(level, greater8(m, above[i]) & step[i]);
      dot = dot_bytes(dot, m, level);
      squares = dot_bytes(squares, level, level);
    }
    const u32x16 counted = squares - splat_u32(static_cast<std::uint32_t>(unused) * smallest * smallest);
    const f32x16 along = to_f32(as_i32(dot)), cosine = along * along / to_f32(as_i32(counted));  // squared, times |y|^2
    const i32x16 better = cosine > best_cosine;
    best_cosine = select(better, cosine, best_cosine);
    QJL_UNROLL
    for (int i = 0; i + 1 < Count; ++i) best.above[i] = select(better, splat_8(at[i]), best.above[i]);
  }
  return best;
}

// magnitudes <- codes: index i of the level, Count + i where y >= 0, Count - 1 - i below.
template <int Count, int kBits>
inline void take_levels(const Thresholds<Count>& best, int num_words, const std::uint32_t* signs, std::uint32_t* magnitudes) {
  const u32x16 bias = splat_8(0x80);  // bytes are compared as signed numbers
  for (int w = 0; w < num_words; ++w) {
    const u32x16 m = load_u32(magnitudes + w * 16) ^ bias, minus = load_u32(signs + w * 16);
    u32x16 code = splat_8(Count);
    QJL_UNROLL
    for (int i = 0; i + 1 < Count; ++i) code = subtract8(code, greater8(m, best.above[i] ^ bias));
    store_u32(magnitudes + w * 16, with_signs<kBits>(code, minus));
  }
}

// <y, level>.
template <int Count>
inline f32x16 dot_levels(const LevelTable& table, const WordOrder& order, const float* y, const std::uint32_t* words) {
  const auto levels = levels_of<2 * Count>(table);
  f32x16 sum[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
  for (int w = 0; w < order.words(); ++w) {
    const u32x16 word = load_u32(words + w * 16);
    const int first = order.first(w), bytes = order.bytes(w);
    QJL_UNROLL
    for (int k = 0; k < 4; ++k) {
      if (k < bytes) sum[k] = sum[k] + load(y + (first + k * order.stride) * 16) * lookup<2 * Count>(levels, word >> 8 * k);
    }
  }
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// Writes code words; returns <y, level>. signs [words][16] is for this alone.
template <Code kCode>
inline f32x16 encode_levels(const WordOrder& order, const float* y, const f32x16& to_unit, std::uint32_t* signs,
                            std::uint32_t* words) {
  constexpr const Codebook& kBook = codebook(kCode);
  sign_words(order, y, signs);
  magnitude_words(order, y, to_unit * splat(kMagnitudeSteps), words);
  take_levels<kBook.count, traits(kCode).bits>(search_scale<kBook.count>(kScaleSearch<kCode>, kBook, order, words), order.words(),
                                               signs, words);
  return dot_levels<kBook.count>(kLevels<kCode>, order, y, words);
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
