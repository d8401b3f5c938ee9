// packed_matvec and quantize on every target: one body, compiled once per instruction set.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "packed_weight.hpp"
#include "quants.hpp"

#define QJL_LANES_BODY "packed_body.hpp"
#define QJL_LANES_WITH_BYTE_DOTS 1
#include "foreach_lanes.hpp"

namespace qjl::engine {

void packed_matvec(const PackedMatvecArgs& args, SimdTarget target) {
#if defined(__x86_64__)
  if (target >= SimdTarget::avx512vbmi) return avx512vbmi::packed_matvec(args);
  if (target == SimdTarget::avx512) return avx512::packed_matvec(args);
  if (target == SimdTarget::avx2) return avx2::packed_matvec(args);
#elif defined(__aarch64__)
  if (target >= SimdTarget::neon) return neon::packed_matvec(args);
#endif
  static_cast<void>(target);
  scalar::packed_matvec(args);
}

void quantize(const Activations& x, std::int64_t columns, QuantizedBlock* out, SimdTarget target) {
#if defined(__x86_64__)
  if (target >= SimdTarget::avx512) return avx512::quantize(x, columns, out);
  if (target == SimdTarget::avx2) return avx2::quantize(x, columns, out);
#elif defined(__aarch64__)
  if (target >= SimdTarget::neon) return neon::quantize(x, columns, out);
#endif
  static_cast<void>(target);
  scalar::quantize(x, columns, out);
}

void quantize(const Activations& x, std::int64_t columns, QuantizedBlock* out) { quantize(x, columns, out, simd_target()); }
void packed_matvec(const PackedMatvecArgs& args) { packed_matvec(args, simd_target()); }

}  // namespace qjl::engine
