// One register of bytes, 4 to a 32-bit lane, for targets whose look-ups take 16 entries: AVX-512 without VBMI, AVX2 (pshufb), NEON
// (tbl).
//
//   look_up            16 entries by byte; an index is below 16
//   WideSum            sums of unsigned bytes in 16 bits
//   add_dot            four levels of keys a lane times four numbers of a query, -127 .. 127
//   add_weighed        four quads of levels times their weights 0 .. 255
#if defined(QJL_BYTES_VECTORS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_BYTES_VECTORS
#undef QJL_BYTES_VECTORS
#else
#define QJL_BYTES_VECTORS
#endif

#include <cstdint>
#include <cstring>

#include "bytes/shape.hpp"
#include "lanes.hpp"
#include "page.hpp"

#if QJL_BYTE_LOOPS && !QJL_VBMI
QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

typedef std::uint8_t NativeB __attribute__((vector_size(4 * QJL_LANES)));
typedef std::uint16_t NativeH __attribute__((vector_size(4 * QJL_LANES)));
typedef std::int16_t NativeS __attribute__((vector_size(4 * QJL_LANES)));
inline constexpr int kVectorBytes = 4 * QJL_LANES;
inline constexpr int kLineVectors = layout::kLineBytes / kVectorBytes;

typedef NativeB LooseB __attribute__((aligned(1), may_alias));  // not a memcpy, see simd.hpp
QJL_INLINE NativeB load_bytes(const std::uint8_t* p) { return *reinterpret_cast<const LooseB*>(p); }
QJL_INLINE void store_bytes(std::uint8_t* p, NativeB v) { *reinterpret_cast<LooseB*>(p) = v; }
// Bits of a byte; those that the shift brings in from the next byte must be masked.
QJL_INLINE NativeB shift_right(NativeB v, int bits) { return (NativeB)((NativeH)v >> bits); }
QJL_INLINE NativeB low_bits(NativeB v, int mask) { return v & (NativeB{} + static_cast<std::uint8_t>(mask)); }
constexpr int nearest(float x) { return static_cast<int>(x < 0.0f ? x - 0.5f : x + 0.5f); }

// sum + more. The compiler may not regroup these sums: gcc makes trees of long ones, which need more registers than there are.
template <typename Vector>
QJL_INLINE Vector add_here(Vector sum, Vector more) {
  sum += more;
#if QJL_LANES >= 8
  __asm__("" : "+v"(sum));
#endif
  return sum;
}

// even = even bytes + 256 * odd bytes (mod 2^16), odd = odd bytes.
struct WideSum {
  NativeH even, odd;
};
QJL_INLINE void widen(WideSum& sum, NativeB bytes) {
  sum.even = add_here(sum.even, (NativeH)bytes);
  sum.odd = add_here(sum.odd, (NativeH)((NativeH)bytes >> 8));
}

// The fourth 6-bit group of three rows of codes: their top two bits.
QJL_INLINE NativeB top_bits(NativeB row0, NativeB row1, NativeB row2) {
  return low_bits(shift_right(row0, 6), 0x03) | low_bits(shift_right(row1, 4), 0x0c) | low_bits(shift_right(row2, 2), 0x30);
}

#if QJL_LANES >= 8

// The low bytes of 16 numbers.
QJL_INLINE void store_small(i32x16 v, std::uint8_t* out) {
#if QJL_LANES == 16
  const __m128i bytes = _mm512_cvtepi32_epi8((__m512i)v);
#else
  v = v & splat_i32(0xff);
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32((__m256i)v.lo, (__m256i)v.hi), 0xd8);
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
#endif
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
}

// What the two widths have in common: each 128 bits of a register go their own way.
//   multiply_bytes   unsigned times signed bytes, neighbours added in 16 bits, saturated;  add_pairs: neighbours of these in 32
//   bits
#if QJL_LANES == 16
QJL_INLINE NativeB load_table(const std::uint8_t* p) {
  return (NativeB)_mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
}
QJL_INLINE NativeB look_up(NativeB table, NativeB index) { return (NativeB)_mm512_shuffle_epi8((__m512i)table, (__m512i)index); }
QJL_INLINE NativeS multiply_bytes(NativeB u, NativeB s) { return (NativeS)_mm512_maddubs_epi16((__m512i)u, (__m512i)s); }
QJL_INLINE NativeI multiply_words(NativeS a, NativeS b) { return (NativeI)_mm512_madd_epi16((__m512i)a, (__m512i)b); }
QJL_INLINE NativeS pack(NativeI a, NativeI b) { return (NativeS)_mm512_packs_epi32((__m512i)a, (__m512i)b); }
QJL_INLINE NativeB pack(NativeS a, NativeS b) { return (NativeB)_mm512_packus_epi16((__m512i)a, (__m512i)b); }
#else
QJL_INLINE NativeB load_table(const std::uint8_t* p) {
  return (NativeB)_mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
}
QJL_INLINE NativeB look_up(NativeB table, NativeB index) { return (NativeB)_mm256_shuffle_epi8((__m256i)table, (__m256i)index); }
QJL_INLINE NativeS multiply_bytes(NativeB u, NativeB s) { return (NativeS)_mm256_maddubs_epi16((__m256i)u, (__m256i)s); }
QJL_INLINE NativeI multiply_words(NativeS a, NativeS b) { return (NativeI)_mm256_madd_epi16((__m256i)a, (__m256i)b); }
QJL_INLINE NativeS pack(NativeI a, NativeI b) { return (NativeS)_mm256_packs_epi32((__m256i)a, (__m256i)b); }
QJL_INLINE NativeB pack(NativeS a, NativeS b) { return (NativeB)_mm256_packus_epi16((__m256i)a, (__m256i)b); }
#endif

QJL_INLINE NativeB four_times(const void* four) {
  std::int32_t bits;
  std::memcpy(&bits, four, sizeof(bits));
  return (NativeB)(NativeI{} + bits);
}
QJL_INLINE NativeI add_pairs(NativeI sum, NativeS pairs) {
  return add_here(sum, multiply_words(pairs, NativeS{} + std::int16_t{1}));
}

// l16 levels of keys in 7 bits, so that two products with a query's bytes stay below 2^15: 127 * (125 + 110). In this unit the
// levels are off by .7 % of the code's own error.
inline constexpr float kKeyUnit = 2.079f;
inline constexpr int kKeyOffset = 64;
QJL_INLINE NativeI add_dot(NativeI sum, NativeB levels, const std::int8_t* q) {
  return add_pairs(sum, multiply_bytes(levels, four_times(q)));
}

// The same of levels of 8 bits, for codes that 7 are too few for: two products of at most 127 * 127 stay below 2^15.
QJL_INLINE NativeI add_whole_dot(NativeI sum, NativeB levels, const std::int8_t* q) {
  const NativeB query = four_times(q);
#if QJL_LANES == 16
  const __m512i turned =
      _mm512_mask_sub_epi8((__m512i)query, _mm512_movepi8_mask((__m512i)levels), _mm512_setzero_si512(), (__m512i)query);
  const NativeB magnitude = (NativeB)_mm512_abs_epi8((__m512i)levels);
#else
  const __m256i turned = _mm256_sign_epi8((__m256i)query, (__m256i)levels);
  const NativeB magnitude = (NativeB)_mm256_abs_epi8((__m256i)levels);
#endif
  return add_pairs(sum, multiply_bytes(magnitude, (NativeB)turned));
}

// Four quads of levels, of which `kQuads` are added in 16 bits: the products of so many pairs of neighbours (kPairBytes).
template <int kQuads>
QJL_INLINE NativeI add_weighed(NativeI sum, const NativeB (&level)[4], const std::uint8_t* weights, int quad_bytes) {
  QJL_UNROLL
  for (int first = 0; first < 4; first += kQuads) {
    NativeS pairs = multiply_bytes(four_times(weights + first * quad_bytes), level[first]);
    QJL_UNROLL
    for (int q = first + 1; q < first + kQuads; ++q) pairs += multiply_bytes(four_times(weights + q * quad_bytes), level[q]);
    sum = add_pairs(sum, pairs);
  }
  return sum;
}

// The scale that a frame needs, `largest` being its largest weight at each slot of a page. One instruction adds the products of two
// neighbouring tokens in 16 bits, which levels up to 127 fill when the bytes are kPairBytes together. Rounding adds less than 1.5 to
// a pair (a half to a byte, less than one to a small one), so a pair may be 257 steps before it, and one weight 255.
inline constexpr int kPairBytes = 258;
QJL_INLINE f32x16 weight_reach(f32x16 largest) {
#if QJL_LANES == 16
  const f32x16 other = _mm512_permute_ps(largest, 0xb1);
#else
  const f32x16 other = {_mm256_permute_ps(largest.lo, 0xb1), _mm256_permute_ps(largest.hi, 0xb1)};
#endif
  return max(largest, (largest + other) * splat(static_cast<float>(kWeightLevels) / (kPairBytes - 1)));
}

// Weights [4 pages][16 tokens], 0 <= w < 256, of one frame: [4 quads][4 pages][4 tokens].
template <int kPages>
QJL_INLINE void store_weights(const i32x16 (&given)[kPages], std::uint8_t* out) {
  i32x16 weight[kPassPages] = {};
  QJL_UNROLL
  for (int i = 0; i < kPages; ++i) weight[i] = given[i];
  const auto put = [&](int at, NativeI a, NativeI b, NativeI c, NativeI d) { store_bytes(out + at, pack(pack(a, b), pack(c, d))); };
#if QJL_LANES == 16
  put(0, weight[0], weight[1], weight[2], weight[3]);
#else
  put(0, weight[0].lo, weight[1].lo, weight[2].lo, weight[3].lo);
  put(kVectorBytes, weight[0].hi, weight[1].hi, weight[2].hi, weight[3].hi);
#endif
}

#else

QJL_INLINE void store_small(i32x16 v, std::uint8_t* out) {
  alignas(16) std::uint32_t whole[16];
  store_u32(whole, as_u32(v));
  for (int i = 0; i < 16; ++i) out[i] = static_cast<std::uint8_t>(whole[i]);
}
QJL_INLINE NativeB load_table(const std::uint8_t* p) { return load_bytes(p); }
QJL_INLINE NativeB look_up(NativeB table, NativeB index) { return (NativeB)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)index); }

struct FourBytes {
  int8x16_t bytes;
  QJL_INLINE explicit FourBytes(NativeB b) : bytes((int8x16_t)b) {}
};
inline constexpr float kKeyUnit = 1.0f;  // l16 levels as they are
inline constexpr int kKeyOffset = 0;
inline constexpr std::uint32_t kSignBits = 0x80808080u;
QJL_INLINE int8x16_t four_times(const void* four) {
  std::int32_t bits;
  std::memcpy(&bits, four, sizeof(bits));
  return vreinterpretq_s8_s32(vdupq_n_s32(bits));
}
QJL_INLINE NativeI add_dot(NativeI sum, NativeB levels, const std::int8_t* q) {
  const FourBytes bytes(levels);
  const int8x16_t query = four_times(q);
#if QJL_NEON == 2
  return (NativeI)vdotq_s32((int32x4_t)sum, bytes.bytes, query);
#else  // two products of at most 127 * 127 fit 16 bits
  const int16x8_t low = vmull_s8(vget_low_s8(bytes.bytes), vget_low_s8(query)), high = vmull_high_s8(bytes.bytes, query);
  return (NativeI)vpadalq_s16((int32x4_t)sum, vpaddq_s16(low, high));
#endif
}

QJL_INLINE NativeI add_whole_dot(NativeI sum, NativeB levels, const std::int8_t* q) { return add_dot(sum, levels, q); }

#if QJL_NEON == 2
// w = (w - 128) + 128: the first is a signed byte, the second the same for every row.
QJL_INLINE NativeI add_quad(NativeI sum, const FourBytes& level, const std::uint8_t* weights) {
  const int8x16_t half = vdupq_n_s8(64), w = veorq_s8(four_times(weights), vreinterpretq_s8_u32(vdupq_n_u32(kSignBits)));
  const int32x4_t rest = vdotq_s32(vdotq_s32(vdupq_n_s32(0), level.bytes, half), level.bytes, half);
  return (NativeI)vdotq_s32((int32x4_t)sum, level.bytes, w) + (NativeI)rest;
}
template <int kQuads>
QJL_INLINE NativeI add_weighed(NativeI sum, const NativeB (&level)[4], const std::uint8_t* weights, int quad_bytes) {
  QJL_UNROLL
  for (int q = 0; q < 4; ++q) sum = add_quad(sum, FourBytes(level[q]), weights + q * quad_bytes);
  return sum;
}
#else
// As on x86, with one product of each quad to a sum: a level times a weight, at most 127 * 255, fits 16 bits.
template <int kQuads>
QJL_INLINE NativeI add_weighed(NativeI sum, const NativeB (&level)[4], const std::uint8_t* weights, int quad_bytes) {
  QJL_UNROLL
  for (int first = 0; first < 4; first += kQuads) {
    int16x8_t low = vdupq_n_s16(0), high = low;
    QJL_UNROLL
    for (int q = first; q < first + kQuads; ++q) {
      const int8x16_t bytes = (int8x16_t)level[q];
      const uint8x8_t w = vget_low_u8(vreinterpretq_u8_s8(four_times(weights + q * quad_bytes)));
      const int16x8_t wide = vreinterpretq_s16_u16(vmovl_u8(w));
      low = vmlaq_s16(low, vmovl_s8(vget_low_s8(bytes)), wide);
      high = vmlaq_s16(high, vmovl_high_s8(bytes), wide);
    }
    sum += (NativeI)vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
  }
  return sum;
}
#endif
QJL_INLINE f32x16 weight_reach(f32x16 largest) { return largest; }

template <int kPages>
QJL_INLINE void store_weights(const i32x16 (&given)[kPages], std::uint8_t* out) {
  i32x16 weight[kPassPages] = {};
  QJL_UNROLL
  for (int i = 0; i < kPages; ++i) weight[i] = given[i];
  const auto pack = [](NativeI a, NativeI b) { return vcombine_u16(vmovn_u32((uint32x4_t)a), vmovn_u32((uint32x4_t)b)); };
  const auto put = [&](int quad, NativeI a, NativeI b, NativeI c, NativeI d) {
    vst1q_u8(out + 16 * quad, vcombine_u8(vmovn_u16(pack(a, b)), vmovn_u16(pack(c, d))));
  };
  put(0, weight[0].lo.lo, weight[1].lo.lo, weight[2].lo.lo, weight[3].lo.lo);
  put(1, weight[0].lo.hi, weight[1].lo.hi, weight[2].lo.hi, weight[3].lo.hi);
  put(2, weight[0].hi.lo, weight[1].hi.lo, weight[2].hi.lo, weight[3].hi.lo);
  put(3, weight[0].hi.hi, weight[1].hi.hi, weight[2].hi.hi, weight[3].hi.hi);
}

#endif

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END
#endif

#endif
