// Dot products of bytes: a lane of the sum grows by the four products of its bytes. Whole numbers, so every target agrees.
//
//   dot_bytes(sum, a, b)   a, b      bytes 0 .. 127
//   dot_small(sum, w, x)   w         bytes 0 .. 63; x: the same four signed bytes in every lane, -127 .. 127
//   dot_any(sum, w, x)     w - kSigned, w any byte; kSigned is 128 where the hardware wants two signed bytes, and 0 where it takes
//                          unsigned ones: the caller puts back the rest
//   high_bits<from, count>(codes, planes)     codes, with `count` bits of each byte of planes, from bit `from` on, above bit 3
//
// On x86 without VNNI two products are added in 16 bits: 127 * 127 * 2 fits, and so does 128 * 127 * 2 of two signed bytes, |w|
// times x with w's sign. On Arm products of two signed bytes fit 16 bits.
#if defined(QJL_SIMD_DOTS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_SIMD_DOTS
#undef QJL_SIMD_DOTS
#else
#define QJL_SIMD_DOTS
#endif

#include <cstdint>
#include <cstring>

#include "lanes.hpp"
#include "small.hpp"

QJL_PASS_BEGIN
namespace qjl::simd::QJL_NAMESPACE {

#if QJL_LANES == 16
QJL_INLINE NativeU dot_bytes(NativeU sum, NativeU a, NativeU b) {
  const __m512i pairs = _mm512_madd_epi16(_mm512_maddubs_epi16((__m512i)a, (__m512i)b), _mm512_set1_epi16(1));
  return sum + (NativeU)pairs;
}
#elif QJL_LANES == 8
QJL_INLINE NativeU dot_bytes(NativeU sum, NativeU a, NativeU b) {
  const __m256i pairs = _mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)a, (__m256i)b), _mm256_set1_epi16(1));
  return sum + (NativeU)pairs;
}
#else
QJL_INLINE NativeU dot_bytes(NativeU sum, NativeU a, NativeU b) {
  const NativeU even = NativeU{} + 0x00ff00ffu;
  const NativeU pairs = add16(multiply16(a & even, b & even), multiply16(a >> 8 & even, b >> 8 & even));
  return sum + (pairs & 0xffffu) + (pairs >> 16);
}
#endif

// Four bytes in every lane.
QJL_INLINE NativeU four_bytes(const void* p) {
  std::uint32_t four;
  std::memcpy(&four, p, sizeof(four));
  return NativeU{} + four;
}

#if QJL_VBMI
inline constexpr float kSigned = 0.0f;
QJL_INLINE NativeI dot_any(NativeI sum, NativeU w, NativeU x) {
  return (NativeI)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, (__m512i)x);
}
QJL_INLINE NativeI dot_small(NativeI sum, NativeU w, NativeU x) { return dot_any(sum, w, x); }
#elif QJL_LANES == 16
inline constexpr float kSigned = 128.0f;
QJL_INLINE NativeI dot_small(NativeI sum, NativeU w, NativeU x) {
  const __m512i pairs = _mm512_madd_epi16(_mm512_maddubs_epi16((__m512i)w, (__m512i)x), _mm512_set1_epi16(1));
  return (NativeI)_mm512_add_epi32((__m512i)sum, pairs);
}
QJL_INLINE NativeI dot_any(NativeI sum, NativeU w, NativeU x) {
  const __m512i with_sign = _mm512_xor_si512((__m512i)w, _mm512_set1_epi8(static_cast<char>(0x80)));
  const __m512i signed_x = _mm512_mask_sub_epi8((__m512i)x, _mm512_movepi8_mask(with_sign), _mm512_setzero_si512(), (__m512i)x);
  return dot_small(sum, (NativeU)_mm512_abs_epi8(with_sign), (NativeU)signed_x);
}
#elif QJL_LANES == 8
inline constexpr float kSigned = 128.0f;
QJL_INLINE NativeI dot_small(NativeI sum, NativeU w, NativeU x) {
  const __m256i pairs = _mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)w, (__m256i)x), _mm256_set1_epi16(1));
  return (NativeI)_mm256_add_epi32((__m256i)sum, pairs);
}
QJL_INLINE NativeI dot_any(NativeI sum, NativeU w, NativeU x) {
  const __m256i with_sign = _mm256_xor_si256((__m256i)w, _mm256_set1_epi8(static_cast<char>(0x80)));
  return dot_small(sum, (NativeU)_mm256_abs_epi8(with_sign), (NativeU)_mm256_sign_epi8((__m256i)x, with_sign));
}
#elif QJL_NEON
inline constexpr float kSigned = 128.0f;
QJL_INLINE NativeI dot_small(NativeI sum, NativeU w, NativeU x) {
  const int8x16_t codes = (int8x16_t)w, four = (int8x16_t)x;
#if QJL_NEON == 2
  return (NativeI)vdotq_s32((int32x4_t)sum, codes, four);
#else
  const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(codes), vget_low_s8(four)));
  const int32x4_t high = vpaddlq_s16(vmull_high_s8(codes, four));
  return sum + (NativeI)vpaddq_s32(low, high);
#endif
}
QJL_INLINE NativeI dot_any(NativeI sum, NativeU w, NativeU x) { return dot_small(sum, w ^ 0x80808080u, x); }
#else
inline constexpr float kSigned = 0.0f;
// A product of an unsigned and a signed byte fits 16 bits.
QJL_INLINE NativeI dot_any(NativeI sum, NativeU w, NativeU x) {
  const NativeS x_even = (NativeS)(x << 8) >> 8, x_odd = (NativeS)x >> 8;
  const NativeI even = (NativeI)((NativeS)(w & 0x00ff00ffu) * x_even), odd = (NativeI)((NativeS)(w >> 8 & 0x00ff00ffu) * x_odd);
  return sum + ((even << 16 >> 16) + (even >> 16)) + ((odd << 16 >> 16) + (odd >> 16));
}
QJL_INLINE NativeI dot_small(NativeI sum, NativeU w, NativeU x) { return dot_any(sum, w, x); }
#endif

template <typename T>
QJL_INLINE Pair<T> dot_bytes(const Pair<T>& sum, const Pair<T>& a, const Pair<T>& b) {
  return {dot_bytes(sum.lo, a.lo, b.lo), dot_bytes(sum.hi, a.hi, b.hi)};
}

template <typename I, typename U>
QJL_INLINE Pair<I> dot_small(const Pair<I>& sum, const Pair<U>& w, NativeU x) {
  return {dot_small(sum.lo, w.lo, x), dot_small(sum.hi, w.hi, x)};
}
template <typename I, typename U>
QJL_INLINE Pair<I> dot_any(const Pair<I>& sum, const Pair<U>& w, NativeU x) {
  return {dot_any(sum.lo, w.lo, x), dot_any(sum.hi, w.hi, x)};
}

// Shifts carry bits into the neighbour byte, never to where the mask looks.
QJL_INLINE u32x16 low_nibbles(u32x16 x) { return x & splat_u32(0x0f0f0f0fu); }
QJL_INLINE u32x16 high_nibbles(u32x16 x) { return x >> 4 & splat_u32(0x0f0f0f0fu); }
template <int from, int count>
QJL_INLINE u32x16 high_bits(u32x16 codes, u32x16 planes) {
  constexpr std::uint32_t kMask = (((1u << count) - 1) << 4) * 0x01010101u;
  if constexpr (from < 4) return codes | (planes << (4 - from) & splat_u32(kMask));
  return codes | (planes >> (from - 4) & splat_u32(kMask));
}

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END

#endif
