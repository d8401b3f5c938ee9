// Row operations on every target: one body, compiled once per instruction set.
#include "ops.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <bit>
#include <cmath>
#include <cstring>

#include "quants.hpp"

#define QJL_LANES_INLINE [[gnu::always_inline]] inline

namespace qjl::engine::scalar {
#include "lanes_scalar.hpp"
#include "ops_body.hpp"
}  // namespace qjl::engine::scalar

#if defined(__x86_64__)
QJL_TARGET_BEGIN(QJL_TARGET_AVX2)
namespace qjl::engine::avx2 {
#include "lanes_avx2.hpp"
#include "ops_body.hpp"
}  // namespace qjl::engine::avx2
QJL_TARGET_END

QJL_TARGET_BEGIN(QJL_TARGET_AVX512)
namespace qjl::engine::avx512 {
#include "lanes_avx512.hpp"
#include "ops_body.hpp"
}  // namespace qjl::engine::avx512
QJL_TARGET_END
#endif

namespace qjl::engine {

const RowOps& row_ops(SimdTarget target) {
#if defined(__x86_64__)
  if (target >= SimdTarget::avx512) return avx512::kRowOps;
  if (target == SimdTarget::avx2) return avx2::kRowOps;
#endif
  static_cast<void>(target);
  return scalar::kRowOps;
}

const RowOps& row_ops() { return row_ops(simd_target()); }

}  // namespace qjl::engine
