// What attend keeps of a row over all blocks: the reference of its exponentials, their sum, and weighted sums of values.
//
//   out = sum_t exp(s[t] - m) v_t,  sum = sum_t exp(s[t] - m);   a reference that moves to m' scales both by exp(m - m')
#if defined(QJL_TILE_ACCUMULATORS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_TILE_ACCUMULATORS
#undef QJL_TILE_ACCUMULATORS
#else
#define QJL_TILE_ACCUMULATORS
#endif

#include <cstdint>

#include "lanes.hpp"
#include "softmax_state.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// What is kept per row over all blocks.
struct Accumulators {
  float* reference;  // [rows]
  float* sums;       // [rows][16]
  float* frames;     // [rows][frame_floats]
  std::int64_t frame_floats;
  float* exact;  // [rows][d]
  int d;
};

QJL_INLINE void scale_floats(float* x, std::int64_t count, float factor) {
  const f32x16 f = splat(factor);
  for (std::int64_t i = 0; i < count; i += 16) store(x + i, load(x + i) * f);
}

inline void move_reference(const Accumulators& state, int row, float reference) {
  const float factor = rescale_factor(state.reference[row], reference);
  state.reference[row] = reference;
  scale_floats(state.sums + row * 16, 16, factor);
  scale_floats(state.frames + row * state.frame_floats, state.frame_floats, factor);
  scale_floats(state.exact + std::int64_t{row} * state.d, state.d, factor);
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
