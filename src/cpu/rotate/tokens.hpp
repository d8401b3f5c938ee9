// Frames applied to 16 tokens at once, a token a lane: arrays are [coordinate][16].
//
//   hadamard frame:  y = H D1 H D2 x (d times P x)       dense frame:  y = P x
//
// The same additions in the same order on every target, no fused ones: the encoders' bytes depend on them.
#if defined(QJL_ROTATE_TOKENS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ROTATE_TOKENS
#undef QJL_ROTATE_TOKENS
#else
#define QJL_ROTATE_TOKENS
#endif

#include <cstdint>

#include "args.hpp"
#include "frame.hpp"
#include "lanes.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// One pass over arrays [d][16]: log2 Rows levels of the Hadamard, beginning with pairs `width` apart; Rows rows stay in registers.
// input(i) reads number i. A level is the same additions whatever the passes are.
template <int Rows, typename Input>
QJL_INLINE void hadamard_pass(const Input& input, float* y, int d, int width) {
  for (int block = 0; block < d; block += Rows * width) {
    for (int at = block * 16; at < (block + width) * 16; at += QJL_LANES) {
      NativeF v[Rows];
      QJL_UNROLL
      for (int k = 0; k < Rows; ++k) v[k] = input(at + k * width * 16);
      QJL_UNROLL
      for (int apart = 1; apart < Rows; apart *= 2) {
        QJL_UNROLL
        for (int k = 0; k < Rows; ++k) {
          if ((k & apart) != 0) continue;
          const NativeF a = v[k], b = v[k + apart];
          v[k] = a + b;
          v[k + apart] = a - b;
        }
      }
      QJL_UNROLL
      for (int k = 0; k < Rows; ++k) write(y + at + k * width * 16, v[k]);
    }
  }
}
template <int Rows>
QJL_INLINE void hadamard_pass(float* y, int d, int width) {
  const auto input = [y](int i) {
    NativeF v;
    read(y + i, v);
    return v;
  };
  hadamard_pass<Rows>(input, y, d, width);
}

// y = H (sign * x), Sylvester order, d = 64, 128 or 256: passes as wide as the registers allow. x may be y.
inline void hadamard_lanes(const float* sign, const float* x, float* y, int d) {
  constexpr int kRows = QJL_LANES == 16 ? 16 : 8;
  const auto input = [sign, x](int i) {
    NativeF v, s;
    read(x + i, v);
    fill(sign[i / 16], s);
    return v * s;
  };
  hadamard_pass<kRows>(input, y, d, 1);
  switch (d / kRows) {
    case 4: return hadamard_pass<4>(y, d, kRows);
    case 8: return hadamard_pass<8>(y, d, kRows);
    case 16:
      if (kRows == 16) return hadamard_pass<kRows>(y, d, kRows);
      hadamard_pass<4>(y, d, kRows);
      return hadamard_pass<4>(y, d, 4 * kRows);
    default: hadamard_pass<8>(y, d, kRows); return hadamard_pass<4>(y, d, 8 * kRows);
  }
}

// y = M x for a dense matrix [d][d]; sums run over the coordinates in order.
inline void multiply_lanes(const float* matrix, const float* x, float* y, int d) {
  for (int i = 0; i < d; i += 4) {
    const float* row = matrix + std::int64_t{i} * d;
    f32x16 sum[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
    for (int j = 0; j < d; ++j) {
      const f32x16 xj = load(x + j * 16);
      for (int k = 0; k < 4; ++k) sum[k] = sum[k] + splat(row[k * d + j]) * xj;
    }
    for (int k = 0; k < 4; ++k) store(y + (i + k) * 16, sum[k]);
  }
}

// y_f = P_f x for `count` frames that share D2; y [count][d][16]. x is used up.
inline void rotate_lanes(const Frame* frames, int count, float* x, float* y) {
  const int d = frames[0].dim;
  if (frames[0].dense == nullptr) hadamard_lanes(frames[0].sign_in, x, x, d);
  for (int f = 0; f < count; ++f) {
    float* out = y + f * d * 16;
    frames[f].dense != nullptr ? multiply_lanes(frames[f].dense, x, out, d) : hadamard_lanes(frames[f].sign_mid, x, out, d);
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
