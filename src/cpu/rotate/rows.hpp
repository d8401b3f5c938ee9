// Frames applied to one vector, its coordinates in the lanes: arrays are [d].
//
//   forward   y = H D1 H D2 x / d,  or P x           (a query into the keys' frames)
//   backward  x += D2 H sum_f D1_f H y_f / d, or sum_f P_f^T y_f      (sums of levels out of the values' frames)
//
// A Hadamard of d = 16 n numbers stays in n vectors: four levels move lanes, log2 n levels add whole vectors, d log2 d additions in
// all.
#if defined(QJL_ROTATE_ROWS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ROTATE_ROWS
#undef QJL_ROTATE_ROWS
#else
#define QJL_ROTATE_ROWS
#endif

#include <cstdint>
#include <type_traits>
#include <utility>

#include "frame.hpp"
#include "lanes.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// One level of a Hadamard inside a vector: (a, b) -> (a + b, a - b) for lanes a, b whose numbers differ by Width.
template <int Width, int... Lane>
QJL_INLINE NativeF butterfly_lanes(NativeF v, std::integer_sequence<int, Lane...>) {
  constexpr NativeU minus = {(Lane & Width ? 0x80000000u : 0u)...};
  return __builtin_shufflevector(v, v, (Lane ^ Width)...) + (NativeF)((NativeU)v ^ minus);
}
template <int Width>
QJL_INLINE NativeF butterfly(NativeF v) {
  return butterfly_lanes<Width>(v, std::make_integer_sequence<int, QJL_LANES>());
}
template <int Width, typename T>
QJL_INLINE Pair<T> butterfly(const Pair<T>& v) {
  if constexpr (Width * sizeof(float) == sizeof(T)) {
    return {v.lo + v.hi, v.lo - v.hi};
  } else {
    return {butterfly<Width>(v.lo), butterfly<Width>(v.hi)};
  }
}

// v <- H v, Sylvester order.
template <int Count>
QJL_INLINE void hadamard(f32x16 (&v)[Count]) {
  QJL_UNROLL
  for (int i = 0; i < Count; ++i) v[i] = butterfly<8>(butterfly<4>(butterfly<2>(butterfly<1>(v[i]))));
  QJL_UNROLL
  for (int width = 1; width < Count; width *= 2) {
    QJL_UNROLL
    for (int i = 0; i < Count; ++i) {
      if ((i & width) != 0) continue;
      const f32x16 a = v[i], b = v[i + width];
      v[i] = a + b;
      v[i + width] = a - b;
    }
  }
}

// Calls work with the number of vectors that hold d numbers, as a constant: d is a power of two.
template <typename Work>
QJL_INLINE void with_vector_count(int d, const Work& work) {
  switch (d / 16) {
    case 4: return work(std::integral_constant<int, 4>());
    case 8: return work(std::integral_constant<int, 8>());
    default: return work(std::integral_constant<int, 16>());
  }
}

QJL_INLINE float dot_row(const float* a, const float* b, int d) {
  f32x16 sum = splat(0.0f);
  for (int c = 0; c < d; c += 16) sum = fused_multiply_add(load(a + c), load(b + c), sum);
  return reduce_add(sum);
}

// y += a x.
QJL_INLINE void add_row(float a, const float* x, float* y, int d) {
  for (int c = 0; c < d; c += 16) store(y + c, fused_multiply_add(splat(a), load(x + c), load(y + c)));
}

// y = M x, M [d][d]: four rows at a time, so that four sums are under way.
inline void multiply_row(const float* matrix, const float* x, float* y, int d) {
  for (int i = 0; i < d; i += 4) {
    const float* row = matrix + std::int64_t{i} * d;
    f32x16 sum[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
    for (int c = 0; c < d; c += 16) {
      for (int k = 0; k < 4; ++k) sum[k] = fused_multiply_add(load(row + k * d + c), load(x + c), sum[k]);
    }
    for (int k = 0; k < 4; ++k) y[i + k] = reduce_add(sum[k]);
  }
}

template <int Count>
inline void rotate_row_hadamard(const Frame& frame, const float* x, float* y) {
  const f32x16 scale = splat(1.0f / static_cast<float>(frame.dim));
  f32x16 v[Count];
  QJL_UNROLL
  for (int i = 0; i < Count; ++i) v[i] = load(x + 16 * i) * load(frame.sign_in + 16 * i) * scale;
  hadamard(v);
  QJL_UNROLL
  for (int i = 0; i < Count; ++i) v[i] = v[i] * load(frame.sign_mid + 16 * i);
  hadamard(v);
  QJL_UNROLL
  for (int i = 0; i < Count; ++i) store(y + 16 * i, v[i]);
}

// y = P x.
inline void rotate_row(const Frame& frame, const float* x, float* y) {
  if (frame.dense != nullptr) return multiply_row(frame.dense, x, y, frame.dim);
  with_vector_count(frame.dim, [&](auto count) { rotate_row_hadamard<count()>(frame, x, y); });
}

template <int Count>
inline void unrotate_rows_hadamard(const Frame* frames, int num_frames, const float* y, float* x) {
  const f32x16 scale = splat(1.0f / static_cast<float>(16 * Count));
  f32x16 sum[Count];
  for (int f = 0; f < num_frames; ++f) {
    f32x16 v[Count];
    QJL_UNROLL
    for (int i = 0; i < Count; ++i) v[i] = load(y + 16 * (f * Count + i));
    hadamard(v);
    QJL_UNROLL
    for (int i = 0; i < Count; ++i) {
      const f32x16 flipped = v[i] * load(frames[f].sign_mid + 16 * i) * scale;
      sum[i] = f == 0 ? flipped : sum[i] + flipped;
    }
  }
  hadamard(sum);
  QJL_UNROLL
  for (int i = 0; i < Count; ++i) {
    store(x + 16 * i, fused_multiply_add(sum[i], load(frames[0].sign_in + 16 * i), load(x + 16 * i)));
  }
}

// x += sum_f P_f^T y_f over frames that share D2; y [num_frames][d].
inline void unrotate_rows(const Frame* frames, int num_frames, const float* y, float* x) {
  const int d = frames[0].dim;
  if (frames[0].dense == nullptr) {
    return with_vector_count(d, [&](auto count) { unrotate_rows_hadamard<count()>(frames, num_frames, y, x); });
  }
  for (int f = 0; f < num_frames; ++f) {
    for (int i = 0; i < d; ++i) add_row(y[f * d + i], frames[f].dense + std::int64_t{i} * d, x, d);
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
