// matvec on every target: one body, compiled once per instruction set.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>

#include "quants.hpp"
#include "weights.hpp"

#define QJL_LANES_INLINE [[gnu::always_inline]] inline

namespace qjl::engine::scalar {
#include "lanes_scalar.hpp"
#include "matvec_body.hpp"
}  // namespace qjl::engine::scalar

#if defined(__x86_64__)
QJL_TARGET_BEGIN(QJL_TARGET_AVX2)
namespace qjl::engine::avx2 {
#include "lanes_avx2.hpp"
#include "matvec_body.hpp"
}  // namespace qjl::engine::avx2
QJL_TARGET_END

QJL_TARGET_BEGIN(QJL_TARGET_AVX512)
namespace qjl::engine::avx512 {
#include "lanes_avx512.hpp"
#include "matvec_body.hpp"
}  // namespace qjl::engine::avx512
QJL_TARGET_END
#endif

namespace qjl::engine {

void matvec(const MatvecArgs& args, SimdTarget target) {
#if defined(__x86_64__)
  if (target >= SimdTarget::avx512) return avx512::matvec(args);
  if (target == SimdTarget::avx2) return avx2::matvec(args);
#endif
  static_cast<void>(target);
  scalar::matvec(args);
}

void matvec(const MatvecArgs& args) { matvec(args, simd_target()); }

}  // namespace qjl::engine
