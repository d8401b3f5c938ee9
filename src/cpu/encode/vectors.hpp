// Codes of two groups of 16 vectors in any rotated code: words and scales.
#if defined(QJL_ENCODE_VECTORS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ENCODE_VECTORS
#undef QJL_ENCODE_VECTORS
#else
#define QJL_ENCODE_VECTORS
#endif

#include <cstdint>

#include "encode/fine_levels.hpp"
#include "encode/levels.hpp"
#include "encode/scales.hpp"
#include "encode/signs.hpp"
#include "encode/tokens.hpp"
#include "encode/trellis.hpp"
#include "encode/words.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "scratch.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// The groups are two value frames of a page, one after the other.
struct VectorJob {
  Code code;
  SignJob frames;
  WordOrder order;
};

// The code words of both groups from their y, of one frame each: <y, level>.
inline void encode_codes(const VectorJob& job, const EncodeScratch& scratch, const Rotated (&rotated)[2],
                         const f32x16 (&to_unit)[2], f32x16 (&dot)[2]) {
  const int d = job.frames.dim();
  with_code(job.code, [&]<Code kCode>() {
    if constexpr (traits(kCode).book == Book::trellis) {
      encode_trellis<kCode>(job.order, scratch, to_unit, dot);
    } else if constexpr (is_rotated(kCode)) {
      for (int group = 0; group < 2; ++group) {
        const float* y = scratch.rotated + std::int64_t{group} * 2 * d * 16;
        std::uint32_t* words = scratch.words + std::int64_t{group} * scratch.num_words * 16;
        if constexpr (traits(kCode).book == Book::levels) {
          dot[group] = encode_levels<kCode>(job.order, y, to_unit[group], scratch.field, words);
        } else if constexpr (traits(kCode).book == Book::fine) {
          dot[group] = encode_fine_levels<kCode>(job.order, y, rotated[group].squared, to_unit[group], scratch.field, words);
        } else {
          sign_words(job.order, y, words);
          dot[group] = sum_of(job.order.coordinates, [y](int c) { return abs(load(y + c * 16)); });
        }
      }
    }
  });
}

// load(group) puts 16 vectors into scratch.x. Code words come to scratch.words [group][num_words][16], scales to scales [2][16].
// Lanes that are not live, and zero vectors: scale 0, codes 0.
template <typename Load>
inline void encode_vectors(const VectorJob& job, const Load& load_group, const i32x16 (&live)[2], const EncodeScratch& scratch,
                           float* scales) {
  const int d = job.frames.dim(), parts = traits(job.code).frames;
  Rotated rotated[2];
  f32x16 to_unit[2], dot[2];
  for (int group = 0; group < 2; ++group) {
    float* y = scratch.rotated + std::int64_t{group} * 2 * d * 16;
    load_group(group);
    rotated[group] = rotate_group(job.frames.frame[group], parts, scratch.x, y);
    to_unit[group] = rotated[group].to_unit;
  }
  if (parts == 1)
    encode_codes(job, scratch, rotated, to_unit, dot);
  else
    anneal_signs(job.frames, job.order, scratch, to_unit, dot);
  for (int group = 0; group < 2; ++group) {
    f32x16 scale = select(live[group], closing_scale(rotated[group].squared, dot[group]), splat(0.0f));
    if (traits(job.code).book == Book::fine) scale = nearest_scale(scale);
    store(scales + 16 * group, scale * rotated[group].magnitude);
    const u32x16 coded = as_u32(scale > splat(0.0f));
    std::uint32_t* words = scratch.words + std::int64_t{group} * scratch.num_words * 16;
    for (int w = 0; w < job.order.words(); ++w) store_u32(words + w * 16, load_u32(words + w * 16) & coded);
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
