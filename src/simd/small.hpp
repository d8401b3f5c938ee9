// 16- and 8-bit numbers in the same registers: a u32x16 read as 32 int16 or 64 bytes. Whole numbers, so every target agrees.
//
//   16 bits   add, subtract (modulo 2^16), multiply (low half), min, max, shift
//             square_high (the high half of x^2, |x| < 2^15), subtract_bounded (signed, to -2^15 .. 2^15 - 1),
//             add_bounded (unsigned, to 2^16 - 1), min_unsigned16
//   8 bits    add and subtract (modulo 2^8), greater (signed; 255 where true)
#if defined(QJL_SIMD_SMALL) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_SIMD_SMALL
#undef QJL_SIMD_SMALL
#else
#define QJL_SIMD_SMALL
#endif

#include <cstdint>

#include "lanes.hpp"

QJL_PASS_BEGIN
namespace qjl::simd::QJL_NAMESPACE {

typedef std::int16_t NativeS __attribute__((vector_size(4 * QJL_LANES)));
typedef std::int8_t NativeB __attribute__((vector_size(4 * QJL_LANES)));

QJL_INLINE NativeU add16(NativeU a, NativeU b) { return (NativeU)((NativeS)a + (NativeS)b); }
QJL_INLINE NativeU subtract16(NativeU a, NativeU b) { return (NativeU)((NativeS)a - (NativeS)b); }
QJL_INLINE NativeU multiply16(NativeU a, NativeU b) { return (NativeU)((NativeS)a * (NativeS)b); }
QJL_INLINE NativeU min16(NativeU a, NativeU b) { return (NativeU)((NativeS)a < (NativeS)b ? (NativeS)a : (NativeS)b); }
QJL_INLINE NativeU max16(NativeU a, NativeU b) { return (NativeU)((NativeS)a > (NativeS)b ? (NativeS)a : (NativeS)b); }
QJL_INLINE NativeU shift_right16(NativeU a, int bits) { return (NativeU)((NativeS)a >> bits); }

#if QJL_LANES == 16
QJL_INLINE NativeU square_high(NativeU a) { return (NativeU)_mm512_mulhi_epi16((__m512i)a, (__m512i)a); }
QJL_INLINE NativeU subtract_bounded(NativeU a, NativeU b) { return (NativeU)_mm512_subs_epi16((__m512i)a, (__m512i)b); }
QJL_INLINE NativeU add_bounded(NativeU a, NativeU b) { return (NativeU)_mm512_adds_epu16((__m512i)a, (__m512i)b); }
QJL_INLINE NativeU min_unsigned16(NativeU a, NativeU b) { return (NativeU)_mm512_min_epu16((__m512i)a, (__m512i)b); }
#elif QJL_LANES == 8
QJL_INLINE NativeU square_high(NativeU a) { return (NativeU)_mm256_mulhi_epi16((__m256i)a, (__m256i)a); }
QJL_INLINE NativeU subtract_bounded(NativeU a, NativeU b) { return (NativeU)_mm256_subs_epi16((__m256i)a, (__m256i)b); }
QJL_INLINE NativeU add_bounded(NativeU a, NativeU b) { return (NativeU)_mm256_adds_epu16((__m256i)a, (__m256i)b); }
QJL_INLINE NativeU min_unsigned16(NativeU a, NativeU b) { return (NativeU)_mm256_min_epu16((__m256i)a, (__m256i)b); }
#elif QJL_NEON
// The instruction doubles the product.
QJL_INLINE NativeU square_high(NativeU a) { return (NativeU)vshrq_n_s16(vqdmulhq_s16((int16x8_t)a, (int16x8_t)a), 1); }
QJL_INLINE NativeU subtract_bounded(NativeU a, NativeU b) { return (NativeU)vqsubq_s16((int16x8_t)a, (int16x8_t)b); }
QJL_INLINE NativeU add_bounded(NativeU a, NativeU b) { return (NativeU)vqaddq_u16((uint16x8_t)a, (uint16x8_t)b); }
QJL_INLINE NativeU min_unsigned16(NativeU a, NativeU b) { return (NativeU)vminq_u16((uint16x8_t)a, (uint16x8_t)b); }
#else
typedef std::uint16_t NativeUnsignedS __attribute__((vector_size(4 * QJL_LANES)));
QJL_INLINE NativeU square_high(NativeU a) {
  const NativeI even = (NativeI)(a << 16) >> 16, odd = (NativeI)a >> 16;
  return ((NativeU)(even * even) >> 16) | ((NativeU)(odd * odd) & 0xffff0000u);
}
QJL_INLINE NativeU subtract_bounded(NativeU a, NativeU b) {
  const NativeS x = (NativeS)a, difference = (NativeS)subtract16(a, b);
  const NativeS past = ((x ^ (NativeS)b) & (x ^ difference)) < 0;  // signs differed, and the result's is not x's
  return (NativeU)(past ? (x >> 15) ^ 0x7fff : difference);
}
QJL_INLINE NativeU add_bounded(NativeU a, NativeU b) {
  const NativeUnsignedS sum = (NativeUnsignedS)a + (NativeUnsignedS)b;
  return (NativeU)(sum | (NativeUnsignedS)(sum < (NativeUnsignedS)a));
}
QJL_INLINE NativeU min_unsigned16(NativeU a, NativeU b) {
  return (NativeU)((NativeUnsignedS)a < (NativeUnsignedS)b ? (NativeUnsignedS)a : (NativeUnsignedS)b);
}
#endif

QJL_INLINE NativeU add8(NativeU a, NativeU b) { return (NativeU)((NativeB)a + (NativeB)b); }
QJL_INLINE NativeU subtract8(NativeU a, NativeU b) { return (NativeU)((NativeB)a - (NativeB)b); }
QJL_INLINE NativeU greater8(NativeU a, NativeU b) { return (NativeU)((NativeB)a > (NativeB)b); }

#define QJL_SMALL_PAIR(name)                                    \
  template <typename T>                                         \
  QJL_INLINE Pair<T> name(const Pair<T>& a, const Pair<T>& b) { \
    return {name(a.lo, b.lo), name(a.hi, b.hi)};                \
  }
QJL_SMALL_PAIR(add16)
QJL_SMALL_PAIR(subtract16)
QJL_SMALL_PAIR(multiply16)
QJL_SMALL_PAIR(min16)
QJL_SMALL_PAIR(max16)
QJL_SMALL_PAIR(add8)
QJL_SMALL_PAIR(subtract8)
QJL_SMALL_PAIR(greater8)
#undef QJL_SMALL_PAIR
template <typename T>
QJL_INLINE Pair<T> shift_right16(const Pair<T>& a, int bits) {
  return {shift_right16(a.lo, bits), shift_right16(a.hi, bits)};
}
// A 16-bit number in both halves of each lane; a byte in all four quarters.
QJL_INLINE u32x16 splat_16(int x) { return splat_u32((static_cast<std::uint32_t>(x) & 0xffffu) * 0x10001u); }
QJL_INLINE u32x16 splat_8(int x) { return splat_u32((static_cast<std::uint32_t>(x) & 0xffu) * 0x1010101u); }

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END

#endif
