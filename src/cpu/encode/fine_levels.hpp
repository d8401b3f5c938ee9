// Fine codes (l32, l64) of 16 vectors, from y = P x: level and scale are chosen together, the scale among those that a page can store.
//
//   scales     s_n = 2^(n / 32); those of a page are such numbers, the largest too, so that their 8-bit codes are exact
//   tried      n = n0 + kFineFirst .. n0 + kFineLast, s_n0 the nearest to unit |y| / sqrt(d)
//   levels     l(s): as many thresholds above the lowest as floor(2 |y_c| / s) reaches; threshold i = level i + level i + 1
//   chosen     the least |y - s l|^2 + (kFineAlong - 1) (s <y, l> - |y|^2)^2 / |y|^2; of equal ones the smaller s
//   scale      the nearest s_n to the closing scale of these levels
//
// A scale of 8 bits is off by .6 % as a rule, which is as much as the levels of l64 are; here by .2 %.
// Cost a candidate and word of 64 codes: three operations a level in bytes, six a vector of coordinates.
#if defined(QJL_ENCODE_FINE_LEVELS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ENCODE_FINE_LEVELS
#undef QJL_ENCODE_FINE_LEVELS
#else
#define QJL_ENCODE_FINE_LEVELS
#endif

#include <cstdint>

#include "codebook.hpp"
#include "encode/levels.hpp"
#include "encode/scales.hpp"
#include "encode/words.hpp"
#include "estimator.hpp"
#include "lanes.hpp"
#include "search_tables.hpp"
#include "small.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// The nearest 2^(n / 32) in log2; 0 for 0.
QJL_INLINE f32x16 nearest_scale(const f32x16& scale) {
  const f32x16 mantissa = as_f32((as_u32(scale) & splat_u32(0x7fffffu)) | splat_u32(0x3f800000u));
  f32x16 step = splat(1.0f);
  for (int i = 0; i < kScaleStepsPerOctave; ++i) {
    const float above = i + 1 < kScaleStepsPerOctave ? kScaleTables.step[i + 1] : 2.0f;
    step = select(mantissa >= splat(kScaleTables.threshold[i]), splat(above), step);
  }
  return select(scale > splat(0.0f), as_f32(as_u32(scale) & splat_u32(0x7f800000u)) * step, splat(0.0f));
}

template <Code kCode>
struct FineSearch {
  static constexpr const Codebook& kBook = codebook(kCode);
  static constexpr int kCount = kBook.count;
  static constexpr std::uint32_t kBias = 0x80;  // bytes are compared as signed numbers

  const WordOrder& order;
  const float* y;

  // floor(2 |y| / s), bytes of a word, biased.
  QJL_INLINE u32x16 halves(int word, const f32x16& twice_per_scale) const {
    return make_word(order, word,
                     [&](int c) { return as_u32(to_i32(min(abs(load(y + c * 16)) * twice_per_scale, splat(255.0f)))); }) ^
           splat_8(kBias);
  }
  // 255 in every byte whose level is above level i.
  static QJL_INLINE u32x16 above(const u32x16& halves, int i) {
    return greater8(halves, splat_8((static_cast<int>(kBook.level[i] + kBook.level[i + 1]) - 1) ^ static_cast<int>(kBias)));
  }

  inline f32x16 cost(const f32x16& scale, const f32x16& squared) const {
    const f32x16 twice_per_scale = safe_divide(splat(2.0f), scale);
    f32x16 error = splat(0.0f), dot = splat(0.0f);
    for (int w = 0; w < order.words(); ++w) {
      const u32x16 word = halves(w, twice_per_scale);
      u32x16 level = splat_8(static_cast<int>(kBook.level[0]));
      QJL_UNROLL
      for (int i = 0; i + 1 < kCount; ++i) {
        level = add8(level, above(word, i) & splat_8(static_cast<int>(kBook.level[i + 1] - kBook.level[i])));
      }
      const int first = order.first(w);
      QJL_UNROLL
      for (int k = 0; k < 4; ++k) {
        const f32x16 of = to_f32(as_i32(level >> 8 * k & splat_u32(255))), at = abs(load(y + (first + k * order.stride) * 16));
        const f32x16 off = at - scale * of;
        error = error + off * off;
        dot = dot + at * of;
      }
    }
    const f32x16 along = scale * dot - squared;
    return error + splat(kFineAlong - 1.0f) * safe_divide(along * along, squared);
  }

  f32x16 best_scale(const f32x16& squared, const f32x16& to_unit) const {
    const f32x16 suits = safe_divide(splat(kBook.unit), to_unit);
    f32x16 scale = nearest_scale(suits) * splat(scale_factor(kScaleCodeMax + kFineFirst)), best = scale,
           least = cost(scale, squared);
    for (int n = kFineFirst + 1; n <= kFineLast; ++n) {
      scale = scale * splat(kScaleTables.step[1]);
      const f32x16 other = cost(scale, squared);
      const i32x16 better = other < least;
      least = select(better, other, least);
      best = select(better, scale, best);
    }
    return best;
  }
};

// Writes code words; returns <y, level>. signs [words][16] is for this alone.
template <Code kCode>
inline f32x16 encode_fine_levels(const WordOrder& order, const float* y, const f32x16& squared, const f32x16& to_unit,
                                 std::uint32_t* signs, std::uint32_t* words) {
  using Search = FineSearch<kCode>;
  constexpr int kBits = traits(kCode).bits;
  const Search search{order, y};
  const f32x16 twice_per_scale = safe_divide(splat(2.0f), search.best_scale(squared, to_unit));
  sign_words(order, y, signs);
  for (int w = 0; w < order.words(); ++w) {
    const u32x16 word = search.halves(w, twice_per_scale), minus = load_u32(signs + w * 16);
    u32x16 code = splat_8(Search::kCount);
    QJL_UNROLL
    for (int i = 0; i + 1 < Search::kCount; ++i) code = subtract8(code, Search::above(word, i));
    store_u32(words + w * 16, with_signs<kBits>(code, minus));
  }
  return dot_levels<Search::kCount>(kLevels<kCode>, order, y, words);
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
