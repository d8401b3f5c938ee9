// matvec on every target: one body, compiled once per instruction set.
#include <algorithm>

#include "quants.hpp"
#include "weights.hpp"

#define QJL_LANES_BODY "matvec_body.hpp"
#include "foreach_lanes.hpp"

namespace qjl::engine {

void matvec(const MatvecArgs& args, SimdTarget target) {
#if defined(__x86_64__)
  if (target >= SimdTarget::avx512) return avx512::matvec(args);
  if (target == SimdTarget::avx2) return avx2::matvec(args);
#elif defined(__aarch64__)
  if (target >= SimdTarget::neon) return neon::matvec(args);
#endif
  static_cast<void>(target);
  scalar::matvec(args);
}

void matvec(const MatvecArgs& args) { matvec(args, simd_target()); }

}  // namespace qjl::engine
