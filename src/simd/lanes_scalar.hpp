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
QJL_INLINE float reduce_max(NativeF a) {
  float largest = a[0];
  QJL_UNROLL
  for (int i = 1; i < QJL_LANES; ++i) largest = a[i] > largest ? a[i] : largest;
  return largest;
}
QJL_INLINE float reduce_add(NativeF a) { return (a[0] + a[2]) + (a[1] + a[3]); }
QJL_INLINE NativeF power_of_two(NativeF n) { return (NativeF)((__builtin_convertvector(n, NativeI) + 127) << 23); }
QJL_INLINE NativeF splat_half_lanes(std::uint16_t half) { return NativeF{} + half_to_float(half); }
// The multiplication by 2^112 moves the exponent's bias and makes subnormals normal.
QJL_INLINE NativeF half_lanes(const std::uint16_t* p) {
  const NativeU bits = {p[0], p[1], p[2], p[3]}, sign = (bits & 0x8000u) << 16, rest = (bits & 0x7fffu) << 13;
  const NativeI is_finite = (NativeI)rest < 0x7c00 << 13;
  return (NativeF)(sign | (is_finite ? (NativeU)((NativeF)rest * 0x1p112f) : rest | 0x7f800000u));
}
QJL_INLINE NativeF bfloat_lanes(const std::uint16_t* p) { return (NativeF)(NativeU{p[0], p[1], p[2], p[3]} << 16); }

// f(i) = number i of sixteen.
template <typename Number>
QJL_INLINE f32x16 sixteen(const Number& f) {
  const auto four = [&f](int i) { return NativeF{f(i), f(i + 1), f(i + 2), f(i + 3)}; };
  return {{four(0), four(4)}, {four(8), four(12)}};
}
QJL_INLINE f32x16 load_i8(const void* p) {
  return sixteen([p](int i) { return static_cast<float>(static_cast<const std::int8_t*>(p)[i]); });
}
QJL_INLINE TwoVectors load_nibbles(const void* p) {
  const auto* bytes = static_cast<const std::uint8_t*>(p);
  return {sixteen([bytes](int i) { return static_cast<float>(bytes[i] & 15); }),
          sixteen([bytes](int i) { return static_cast<float>(bytes[i] >> 4); })};
}

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END
