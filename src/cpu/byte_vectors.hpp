// One register of bytes, 4 to a 32-bit lane, for targets whose look-ups take 16 entries: AVX2 (pshufb) and NEON (tbl).
//
//   look_up      16 entries by byte; an index is below 16
//   WideSum      sums of unsigned bytes in 16 bits
//   FourBytes    four signed bytes a lane, ready for products with four numbers of a query
//   add_weighed  four weights 0 .. 255 times four levels a lane
//
// Header of a pass: see foreach_target.hpp. Needs simd.hpp.
namespace qjl::cpu::QJL_NAMESPACE {

typedef std::uint8_t NativeB __attribute__((vector_size(4 * QJL_LANES)));
typedef std::uint16_t NativeH __attribute__((vector_size(4 * QJL_LANES)));
inline constexpr int kVectorBytes = 4 * QJL_LANES;
inline constexpr int kLineVectors = layout::kLineBytes / kVectorBytes;

typedef NativeB LooseB __attribute__((aligned(1), may_alias));  // not a memcpy, see simd.hpp
QJL_INLINE NativeB load_bytes(const std::uint8_t* p) { return *reinterpret_cast<const LooseB*>(p); }
// Bits of a byte; those that the shift brings in from the next byte must be masked.
QJL_INLINE NativeB shift_right(NativeB v, int bits) { return (NativeB)((NativeH)v >> bits); }
QJL_INLINE NativeB low_bits(NativeB v, int mask) { return v & (NativeB{} + static_cast<std::uint8_t>(mask)); }

// even = even bytes + 256 * odd bytes (mod 2^16), odd = odd bytes.
struct WideSum {
  NativeH even, odd;
};
QJL_INLINE void widen(WideSum& sum, NativeB bytes) {
  sum.even += (NativeH)bytes;
  sum.odd += (NativeH)bytes >> 8;
}

// The fourth 6-bit group of three rows of codes: their top two bits.
QJL_INLINE NativeB top_bits(NativeB row0, NativeB row1, NativeB row2) {
  return low_bits(shift_right(row0, 6), 0x03) | low_bits(shift_right(row1, 4), 0x0c) | low_bits(shift_right(row2, 2), 0x30);
}

#if QJL_LANES == 8

QJL_INLINE NativeB load_table(const std::uint8_t* p) {
  return (NativeB)_mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
}
QJL_INLINE NativeB look_up(NativeB table, NativeB index) { return (NativeB)_mm256_shuffle_epi8((__m256i)table, (__m256i)index); }

// Query numbers as 16-bit integers in the order 0 2 1 3: vpmaddwd has no rounding to save, and 14 bits leave room for 256 products.
using QueryNumber = std::int16_t;
inline constexpr float kQueryReach = 8191.0f;
inline constexpr int kQueryOrder[4] = {0, 2, 1, 3};
struct FourBytes {
  __m256i even, odd;
  QJL_INLINE explicit FourBytes(NativeB bytes)
      : even(_mm256_srai_epi16(_mm256_slli_epi16((__m256i)bytes, 8), 8)), odd(_mm256_srai_epi16((__m256i)bytes, 8)) {}
};
// sum + more. The compiler may not regroup these sums: gcc makes trees of long ones, which need more registers than there are.
QJL_INLINE NativeI add_here(NativeI sum, __m256i more) {
  sum += (NativeI)more;
  __asm__("" : "+x"(sum));
  return sum;
}

QJL_INLINE NativeI add_dot(NativeI sum, const FourBytes& bytes, const QueryNumber* q) {
  std::int32_t pair[2];
  std::memcpy(pair, q, sizeof(pair));
  sum = add_here(sum, _mm256_madd_epi16(bytes.even, _mm256_set1_epi32(pair[0])));
  return add_here(sum, _mm256_madd_epi16(bytes.odd, _mm256_set1_epi32(pair[1])));
}

QJL_INLINE __m256i weights_of(const std::uint8_t* four) {
  std::int32_t bits;
  std::memcpy(&bits, four, sizeof(bits));
  return _mm256_set1_epi32(bits);
}
// Levels up to 10: the eight products of a channel with a page's weights stay below 2^15, 8 * 255 * 10.
QJL_INLINE NativeI add_weighed_small(NativeI sum, const NativeB (&level)[4], const std::uint8_t* weights, int quad_bytes) {
  __m256i pairs = _mm256_maddubs_epi16(weights_of(weights), (__m256i)level[0]);
  QJL_UNROLL
  for (int q = 1; q < 4; ++q) {
    pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(weights_of(weights + q * quad_bytes), (__m256i)level[q]));
  }
  return add_here(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
// Any levels, with weights from spread_weights.
inline constexpr int kSpread = 2;  // bytes a weight
QJL_INLINE NativeI add_weighed(NativeI sum, const FourBytes& level, const std::uint8_t* weights) {
  sum = add_here(sum, _mm256_madd_epi16(level.even, weights_of(weights)));
  return add_here(sum, _mm256_madd_epi16(level.odd, weights_of(weights + 4)));
}
// Weights of one frame, 64 bytes, as 16-bit numbers, four in the order 0 2 1 3.
QJL_INLINE void spread_weights(const std::uint8_t* weights, std::uint8_t* out) {
  QJL_UNROLL
  for (int i = 0; i < 2; ++i) {
    const __m256i w = _mm256_load_si256(reinterpret_cast<const __m256i*>(weights + 32 * i));
    const __m256i even = _mm256_and_si256(w, _mm256_set1_epi16(0xff)), odd = _mm256_srli_epi16(w, 8);
    const __m256i low = _mm256_unpacklo_epi32(even, odd), high = _mm256_unpackhi_epi32(even, odd);
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + 64 * i), _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + 64 * i + 32), _mm256_permute2x128_si256(low, high, 0x31));
  }
}

// Weights [4 pages][16 tokens], 0 <= w < 256, of one frame: [4 quads][4 pages][4 tokens].
QJL_INLINE void store_weights(const i32x16 (&weight)[kPassPages], std::uint8_t* out) {
  const auto pack = [](NativeI a, NativeI b, NativeI c, NativeI d) {
    return _mm256_packus_epi16(_mm256_packs_epi32((__m256i)a, (__m256i)b), _mm256_packs_epi32((__m256i)c, (__m256i)d));
  };
  _mm256_store_si256(reinterpret_cast<__m256i*>(out), pack(weight[0].lo, weight[1].lo, weight[2].lo, weight[3].lo));
  _mm256_store_si256(reinterpret_cast<__m256i*>(out + 32), pack(weight[0].hi, weight[1].hi, weight[2].hi, weight[3].hi));
}

#else

QJL_INLINE NativeB load_table(const std::uint8_t* p) { return load_bytes(p); }
QJL_INLINE NativeB look_up(NativeB table, NativeB index) { return (NativeB)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)index); }

using QueryNumber = std::int8_t;
inline constexpr float kQueryReach = 127.0f;
inline constexpr int kQueryOrder[4] = {0, 1, 2, 3};
struct FourBytes {
  int8x16_t bytes;
  QJL_INLINE explicit FourBytes(NativeB b) : bytes((int8x16_t)b) {}
};
inline constexpr std::uint32_t kSignBits = 0x80808080u;
QJL_INLINE int8x16_t four_times(const void* four) {
  std::int32_t bits;
  std::memcpy(&bits, four, sizeof(bits));
  return vreinterpretq_s8_s32(vdupq_n_s32(bits));
}
QJL_INLINE NativeI add_dot(NativeI sum, const FourBytes& bytes, const QueryNumber* q) {
  const int8x16_t query = four_times(q);
#if QJL_NEON == 2
  return (NativeI)vdotq_s32((int32x4_t)sum, bytes.bytes, query);
#else  // two products of at most 127 * 127 fit 16 bits
  const int16x8_t low = vmull_s8(vget_low_s8(bytes.bytes), vget_low_s8(query)), high = vmull_high_s8(bytes.bytes, query);
  return (NativeI)vpadalq_s16((int32x4_t)sum, vpaddq_s16(low, high));
#endif
}

inline constexpr int kSpread = 1;
QJL_INLINE void spread_weights(const std::uint8_t* weights, std::uint8_t* out) { std::memcpy(out, weights, layout::kLineBytes); }
#if QJL_NEON == 2
// w = (w - 128) + 128: the first is a signed byte, the second the same for every row.
QJL_INLINE NativeI add_weighed(NativeI sum, const FourBytes& level, const std::uint8_t* weights) {
  const int8x16_t half = vdupq_n_s8(64), w = veorq_s8(four_times(weights), vreinterpretq_s8_u32(vdupq_n_u32(kSignBits)));
  const int32x4_t rest = vdotq_s32(vdotq_s32(vdupq_n_s32(0), level.bytes, half), level.bytes, half);
  return (NativeI)vdotq_s32((int32x4_t)sum, level.bytes, w) + (NativeI)rest;
}
QJL_INLINE NativeI add_weighed_small(NativeI sum, const NativeB (&level)[4], const std::uint8_t* weights, int quad_bytes) {
  QJL_UNROLL
  for (int q = 0; q < 4; ++q) sum = add_weighed(sum, FourBytes(level[q]), weights + q * quad_bytes);
  return sum;
}
#else
// A level times a weight, at most 127 * 255, fits 16 bits.
QJL_INLINE NativeI add_weighed(NativeI sum, const FourBytes& level, const std::uint8_t* weights) {
  const uint8x8_t w = vget_low_u8(vreinterpretq_u8_s8(four_times(weights)));
  const int16x8_t wide = vreinterpretq_s16_u16(vmovl_u8(w));
  const int16x8_t low = vmulq_s16(vmovl_s8(vget_low_s8(level.bytes)), wide), high = vmulq_s16(vmovl_high_s8(level.bytes), wide);
  return sum + (NativeI)vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
}
// Levels up to 10: the products of four quads stay below 2^15, 4 * 255 * 10.
QJL_INLINE NativeI add_weighed_small(NativeI sum, const NativeB (&level)[4], const std::uint8_t* weights, int quad_bytes) {
  int16x8_t low = vdupq_n_s16(0), high = low;
  QJL_UNROLL
  for (int q = 0; q < 4; ++q) {
    const int8x16_t bytes = (int8x16_t)level[q];
    const uint8x8_t w = vget_low_u8(vreinterpretq_u8_s8(four_times(weights + q * quad_bytes)));
    const int16x8_t wide = vreinterpretq_s16_u16(vmovl_u8(w));
    low = vmlaq_s16(low, vmovl_s8(vget_low_s8(bytes)), wide);
    high = vmlaq_s16(high, vmovl_high_s8(bytes), wide);
  }
  return sum + (NativeI)vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
}
#endif

QJL_INLINE void store_weights(const i32x16 (&weight)[kPassPages], std::uint8_t* out) {
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
