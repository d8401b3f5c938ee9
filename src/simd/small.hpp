// 16- and 8-bit numbers in the same registers: a u32x16 read as 32 int16 or 64 bytes. Whole numbers, so every target agrees.
//
//   16 bits   add, subtract (modulo 2^16), multiply (low half), min, max, shift
//   8 bits    add and subtract (modulo 2^8), greater (signed; 255 where true), dot_bytes: lane += sum of its four products
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
QJL_INLINE NativeU add8(NativeU a, NativeU b) { return (NativeU)((NativeB)a + (NativeB)b); }
QJL_INLINE NativeU subtract8(NativeU a, NativeU b) { return (NativeU)((NativeB)a - (NativeB)b); }
QJL_INLINE NativeU greater8(NativeU a, NativeU b) { return (NativeU)((NativeB)a > (NativeB)b); }

// Bytes of a and b are 0 .. 127: two products stay below 2^15.
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
template <typename T>
QJL_INLINE Pair<T> dot_bytes(const Pair<T>& sum, const Pair<T>& a, const Pair<T>& b) {
  return {dot_bytes(sum.lo, a.lo, b.lo), dot_bytes(sum.hi, a.hi, b.hi)};
}

// A 16-bit number in both halves of each lane; a byte in all four quarters.
QJL_INLINE u32x16 splat_16(int x) { return splat_u32((static_cast<std::uint32_t>(x) & 0xffffu) * 0x10001u); }
QJL_INLINE u32x16 splat_8(int x) { return splat_u32((static_cast<std::uint32_t>(x) & 0xffu) * 0x1010101u); }

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END

#endif
