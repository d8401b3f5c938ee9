// Sixteen 32-bit lanes, whatever the instruction set: f32x16, u32x16, i32x16, and the few operations that the kernels need.
//
// One lane does the same IEEE operations in the same order on every target; only fused_multiply_add rounds once where the processor
// can and twice elsewhere, so encoders do not use it.
#if defined(QJL_SIMD_LANES) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_SIMD_LANES
#undef QJL_SIMD_LANES
#else
#define QJL_SIMD_LANES
#endif

#include <cstdint>
#include <cstring>

#include "qjl/types.hpp"
#include "registers.hpp"
// What differs between targets, of one register: fill, fused_multiply_add, min, max, sqrt, reduce_max, reduce_add (by halves: lanes
// i and i + 8, then i + 4, ...), power_of_two (of integers in [-126, 127]), loads of halves; and two loads of small numbers,
//   load_i8        sixteen signed bytes as floats
//   load_nibbles   sixteen bytes hold 32 numbers 0 .. 15: the low halves of the bytes, then the high ones
#if QJL_LANES == 16
#include "lanes_avx512.hpp"
#elif QJL_LANES == 8
#include "lanes_avx2.hpp"
#elif QJL_NEON
#include "lanes_neon.hpp"
#else
#include "lanes_scalar.hpp"
#endif

QJL_PASS_BEGIN
namespace qjl::simd::QJL_NAMESPACE {

inline constexpr int kLanes = 16;

// ---- one register ---------------------------------------------------------------------------------------------------------------
// Memory of any type and alignment. A memcpy would do the same, but gcc 12 then keeps the vector in memory.
typedef NativeF LooseF __attribute__((aligned(1), may_alias));
typedef NativeU LooseU __attribute__((aligned(1), may_alias));
QJL_INLINE void read(const void* p, NativeF& v) { v = *static_cast<const LooseF*>(p); }
QJL_INLINE void read(const void* p, NativeU& v) { v = *static_cast<const LooseU*>(p); }
QJL_INLINE void write(void* p, NativeF v) { *static_cast<LooseF*>(p) = v; }
QJL_INLINE void write(void* p, NativeU v) { *static_cast<LooseU*>(p) = v; }
QJL_INLINE void read_half(const std::uint16_t* p, NativeF& v) { v = half_lanes(p); }
QJL_INLINE void fill_half(std::uint16_t half, NativeF& v) { v = splat_half_lanes(half); }
QJL_INLINE void read_bfloat(const std::uint16_t* p, NativeF& v) { v = bfloat_lanes(p); }
// Two numbers in turns.
QJL_INLINE void read_pair(const float* p, NativeF& v) {
  typedef std::uint64_t NativePairs __attribute__((vector_size(4 * QJL_LANES)));
  std::uint64_t both;
  std::memcpy(&both, p, sizeof(both));
  v = (NativeF)(NativePairs{} + both);
}
QJL_INLINE void fill(std::uint32_t x, NativeU& v) { v = NativeU{} + x; }
QJL_INLINE void fill(std::int32_t x, NativeI& v) { v = NativeI{} + x; }
QJL_INLINE NativeU as_u32(NativeF v) { return (NativeU)v; }
QJL_INLINE NativeU as_u32(NativeI v) { return (NativeU)v; }
QJL_INLINE NativeI as_i32(NativeU v) { return (NativeI)v; }
QJL_INLINE NativeF as_f32(NativeU v) { return (NativeF)v; }
QJL_INLINE NativeF to_f32(NativeI v) { return __builtin_convertvector(v, NativeF); }
QJL_INLINE NativeI to_i32(NativeF v) { return __builtin_convertvector(v, NativeI); }
QJL_INLINE NativeF select(NativeI mask, NativeF a, NativeF b) { return mask ? a : b; }
QJL_INLINE NativeU select(NativeI mask, NativeU a, NativeU b) { return mask ? a : b; }
QJL_INLINE NativeI select(NativeI mask, NativeI a, NativeI b) { return mask ? a : b; }

// ---- pairs --------------------------------------------------------------------------------------------------------------------
#define QJL_PAIR_OPERATOR(op)                                        \
  template <typename T>                                              \
  QJL_INLINE auto operator op(const Pair<T>& a, const Pair<T>& b) {  \
    return Pair<decltype(a.lo op b.lo)>{a.lo op b.lo, a.hi op b.hi}; \
  }
QJL_PAIR_OPERATOR(+)
QJL_PAIR_OPERATOR(-)
QJL_PAIR_OPERATOR(*)
QJL_PAIR_OPERATOR(/)
QJL_PAIR_OPERATOR(&)
QJL_PAIR_OPERATOR(|)
QJL_PAIR_OPERATOR(^)
QJL_PAIR_OPERATOR(<)
QJL_PAIR_OPERATOR(>)
QJL_PAIR_OPERATOR(<=)
QJL_PAIR_OPERATOR(>=)
#undef QJL_PAIR_OPERATOR
template <typename T>
QJL_INLINE Pair<T> operator<<(const Pair<T>& a, int bits) {
  return {a.lo << bits, a.hi << bits};
}
template <typename T>
QJL_INLINE Pair<T> operator>>(const Pair<T>& a, int bits) {
  return {a.lo >> bits, a.hi >> bits};
}

template <typename T>
QJL_INLINE Pair<T> fused_multiply_add(const Pair<T>& a, const Pair<T>& b, const Pair<T>& c) {
  return {fused_multiply_add(a.lo, b.lo, c.lo), fused_multiply_add(a.hi, b.hi, c.hi)};
}
template <typename T>
QJL_INLINE Pair<T> min(const Pair<T>& a, const Pair<T>& b) {
  return {min(a.lo, b.lo), min(a.hi, b.hi)};
}
template <typename T>
QJL_INLINE Pair<T> max(const Pair<T>& a, const Pair<T>& b) {
  return {max(a.lo, b.lo), max(a.hi, b.hi)};
}
template <typename T>
QJL_INLINE Pair<T> sqrt(const Pair<T>& a) {
  return {sqrt(a.lo), sqrt(a.hi)};
}
template <typename T>
QJL_INLINE float reduce_max(const Pair<T>& a) {
  return reduce_max(max(a.lo, a.hi));
}
template <typename T>
QJL_INLINE float reduce_add(const Pair<T>& a) {
  return reduce_add(a.lo + a.hi);
}
template <typename M, typename T>
QJL_INLINE Pair<T> select(const Pair<M>& mask, const Pair<T>& a, const Pair<T>& b) {
  return {select(mask.lo, a.lo, b.lo), select(mask.hi, a.hi, b.hi)};
}
#define QJL_PAIR_CAST(name)                                    \
  template <typename T>                                        \
  QJL_INLINE auto name(const Pair<T>& a) {                     \
    return Pair<decltype(name(a.lo))>{name(a.lo), name(a.hi)}; \
  }
QJL_PAIR_CAST(as_u32)
QJL_PAIR_CAST(as_i32)
QJL_PAIR_CAST(as_f32)
QJL_PAIR_CAST(to_f32)
QJL_PAIR_CAST(to_i32)
QJL_PAIR_CAST(power_of_two)
#undef QJL_PAIR_CAST
template <typename T>
QJL_INLINE void read(const void* p, Pair<T>& v) {
  read(p, v.lo);
  read(static_cast<const std::uint8_t*>(p) + sizeof(T), v.hi);
}
template <typename T>
QJL_INLINE void write(void* p, const Pair<T>& v) {
  write(p, v.lo);
  write(static_cast<std::uint8_t*>(p) + sizeof(T), v.hi);
}
template <typename T>
QJL_INLINE void read_half(const std::uint16_t* p, Pair<T>& v) {
  read_half(p, v.lo);
  read_half(p + sizeof(T) / 4, v.hi);
}
template <typename T>
QJL_INLINE void read_bfloat(const std::uint16_t* p, Pair<T>& v) {
  read_bfloat(p, v.lo);
  read_bfloat(p + sizeof(T) / 4, v.hi);
}
template <typename T>
QJL_INLINE void read_pair(const float* p, Pair<T>& v) {
  read_pair(p, v.lo);
  v.hi = v.lo;
}
template <typename T>
QJL_INLINE void fill_half(std::uint16_t half, Pair<T>& v) {
  fill_half(half, v.lo);
  v.hi = v.lo;
}
template <typename N, typename T>
QJL_INLINE void fill(N x, Pair<T>& v) {
  fill(x, v.lo);
  fill(x, v.hi);
}

// ---- sixteen lanes ------------------------------------------------------------------------------------------------------------
QJL_INLINE f32x16 splat(float x) {
  f32x16 v;
  fill(x, v);
  return v;
}
QJL_INLINE u32x16 splat_u32(std::uint32_t x) {
  u32x16 v;
  fill(x, v);
  return v;
}
QJL_INLINE i32x16 splat_i32(std::int32_t x) {
  i32x16 v;
  fill(x, v);
  return v;
}
QJL_INLINE f32x16 load(const float* p) {
  f32x16 v;
  read(p, v);
  return v;
}
// p[0] in even lanes, p[1] in odd ones.
QJL_INLINE f32x16 splat_pair(const float* p) {
  f32x16 v;
  read_pair(p, v);
  return v;
}
QJL_INLINE u32x16 load_u32(const void* p) {
  u32x16 v;
  read(p, v);
  return v;
}
QJL_INLINE void store(float* p, f32x16 v) { write(p, v); }
QJL_INLINE void store_u32(void* p, u32x16 v) { write(p, v); }
QJL_INLINE std::uint16_t load_u16(const void* p) {
  std::uint16_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
QJL_INLINE f32x16 load_half(const void* p) {
  f32x16 v;
  read_half(static_cast<const std::uint16_t*>(p), v);
  return v;
}
QJL_INLINE f32x16 load_bfloat(const void* p) {
  f32x16 v;
  read_bfloat(static_cast<const std::uint16_t*>(p), v);
  return v;
}
QJL_INLINE f32x16 splat_half(const void* p) {
  f32x16 v;
  fill_half(load_u16(p), v);
  return v;
}
QJL_INLINE f32x16 load_row(const std::uint16_t* p, DType dtype) { return dtype == DType::bf16 ? load_bfloat(p) : load_half(p); }
// Whether some lane of v is above x.
QJL_INLINE bool any_above(f32x16 v, float x) {
#if QJL_LANES == 16
  return _mm512_cmp_ps_mask(v, splat(x), _CMP_GT_OQ) != 0;
#else
  return reduce_max(v) > x;
#endif
}
QJL_INLINE f32x16 abs(f32x16 v) { return as_f32(as_u32(v) & splat_u32(0x7fffffffu)); }
QJL_INLINE i32x16 lane_numbers() {
  alignas(64) static constexpr std::uint32_t kNumbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return as_i32(load_u32(kNumbers));
}
// To the nearest integer, ties to even, for |v| < 2^22: beyond 1.5 * 2^23 the last place of a float is 1.
QJL_INLINE f32x16 round_even(f32x16 v) { return (v + splat(0x1.8p23f)) - splat(0x1.8p23f); }

// +1 or -1 by bit `bit` of each lane (1 means minus).
QJL_INLINE f32x16 sign_of_bit(u32x16 word, int bit) {
  return as_f32((word << (31 - bit) & splat_u32(0x80000000u)) ^ splat_u32(0x3f800000u));
}

}  // namespace qjl::simd::QJL_NAMESPACE
QJL_PASS_END

#endif
