// Row operations on every target: one body, compiled once per instruction set.
#include "ops.hpp"

#include <bit>
#include <cmath>
#include <cstring>

#include "quants.hpp"

#define QJL_LANES_BODY "ops_body.hpp"
#include "foreach_lanes.hpp"

namespace qjl::engine {

const RowOps& row_ops(SimdTarget target) {
#if defined(__x86_64__)
  if (target >= SimdTarget::avx512) return avx512::kRowOps;
  if (target == SimdTarget::avx2) return avx2::kRowOps;
#elif defined(__aarch64__)
  if (target >= SimdTarget::neon) return neon::kRowOps;
#endif
  static_cast<void>(target);
  return scalar::kRowOps;
}

const RowOps& row_ops() { return row_ops(simd_target()); }

}  // namespace qjl::engine
