// One register of 4 lanes for any processor.
// lanes.hpp includes it, and nothing else does.
#include <cmath>
#include <cstdint>

#include "half.hpp"
#include "registers.hpp"

QJL_PASS_BEGIN
namespace qjl::simd::QJL_NAMESPACE {

QJL_INLINE void fill(float x, NativeF& v) { v = NativeF{x, x, x, x}; }
QJL_INLINE NativeF fused_multiply_add(NativeF a, NativeF b, NativeF c) { return a * b + c; }
QJL_INLINE NativeF min(NativeF a, NativeF b) { return a < b ? a : b; }
QJL_INLINE NativeF max(NativeF a, NativeF b) { return a > b ? a : b; }
QJL_INLINE NativeF sqrt(NativeF a) { return NativeF{std::sqrt(a[0]), std::sqrt(a[1]), std::sqrt(a[2]), std::sqrt(a[3])}; }
QJL_INLINE NativeF half_lanes(const std::uint16_t* p) {
  return NativeF{half_to_float(p[0]), half_to_float(p[1]), half_to_float(p[2]), half_to_float(p[3])};
}

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END
