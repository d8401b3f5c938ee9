// Frames applied to one vector, its coordinates in the lanes: arrays are [d].
//
//   forward   y = H D1 H D2 x / d,  or P x           (a query into the keys' frames)
//   backward  x += D2 H sum_f D1_f H y_f / d, or sum_f P_f^T y_f      (sums of levels out of the values' frames)
//
// Header of a pass: see foreach_target.hpp. Needs simd.hpp, rotate_lanes.hpp (struct Frame).
namespace qjl::cpu::QJL_NAMESPACE {

// x <- H x, Sylvester order.
inline void hadamard_row(float* x, int d) {
  for (int width = 1; width < 16; width *= 2) {
    for (int block = 0; block < d; block += 2 * width) {
      for (int c = block; c < block + width; ++c) {
        const float a = x[c], b = x[c + width];
        x[c] = a + b;
        x[c + width] = a - b;
      }
    }
  }
  for (int width = 16; width < d; width *= 2) {
    for (int block = 0; block < d; block += 2 * width) {
      for (int c = block; c < block + width; c += 16) {
        const f32x16 a = load(x + c), b = load(x + c + width);
        store(x + c, a + b);
        store(x + c + width, a - b);
      }
    }
  }
}

// y = x * sign * scale.
inline void flip_row(const float* x, const float* sign, float scale, float* y, int d) {
  for (int c = 0; c < d; c += 16) store(y + c, load(x + c) * load(sign + c) * splat(scale));
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

// y = P x.
inline void rotate_row(const Frame& frame, const float* x, float* y) {
  const int d = frame.dim;
  if (frame.dense != nullptr) {
    for (int i = 0; i < d; ++i) y[i] = dot_row(frame.dense + std::int64_t{i} * d, x, d);
    return;
  }
  flip_row(x, frame.sign_in, 1.0f / static_cast<float>(d), y, d);
  hadamard_row(y, d);
  flip_row(y, frame.sign_mid, 1.0f, y, d);
  hadamard_row(y, d);
}

// x += sum_f P_f^T y_f over `count` frames that share D2; y [count][d] is used up.
inline void unrotate_rows(const Frame* frames, int count, float* y, float* x) {
  const int d = frames[0].dim;
  if (frames[0].dense != nullptr) {
    for (int f = 0; f < count; ++f) {
      for (int i = 0; i < d; ++i) add_row(y[f * d + i], frames[f].dense + std::int64_t{i} * d, x, d);
    }
    return;
  }
  for (int f = 0; f < count; ++f) {
    float* part = y + f * d;
    hadamard_row(part, d);
    flip_row(part, frames[f].sign_mid, 1.0f / static_cast<float>(d), part, d);
    if (f > 0) add_row(1.0f, part, y, d);
  }
  hadamard_row(y, d);
  for (int c = 0; c < d; c += 16) store(x + c, fused_multiply_add(load(y + c), load(frames[0].sign_in + c), load(x + c)));
}

}  // namespace qjl::cpu::QJL_NAMESPACE
