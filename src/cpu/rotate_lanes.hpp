// Frames applied to 16 tokens at once, a token a lane: arrays are [coordinate][16].
//
//   hadamard frame:  y = H D1 H D2 x / d       dense frame:  y = P x
//
// The same additions in the same order on every target, no fused ones: the encoders' bytes depend on them.
// Header of a pass: see foreach_target.hpp. Needs simd.hpp.
namespace qjl::cpu::QJL_NAMESPACE {

// One frame of the tables: the diagonals, or the matrix.
struct Frame {
  int dim;
  const float* sign_in;   // D2, null for a dense frame
  const float* sign_mid;  // D1_f
  const float* dense;     // [d][d]
};

// Frame f of the keys, or frame f of the values (token t, part s: f = (t mod 8) parts + s).
inline Frame key_frame(const CodecTables& t, int f) {
  const std::int64_t d = t.shape.head_dim;
  if (t.hadamard) return {t.shape.head_dim, t.key_sign_in, t.key_sign_mid + f * d, nullptr};
  return {t.shape.head_dim, nullptr, nullptr, t.key_frames + f * d * d};
}
inline Frame value_frame(const CodecTables& t, int f) {
  const std::int64_t d = t.shape.head_dim;
  if (t.hadamard) return {t.shape.head_dim, t.value_sign_in, t.value_sign_mid + f * d, nullptr};
  return {t.shape.head_dim, nullptr, nullptr, t.value_frames + f * d * d};
}

// x <- H x, Sylvester order. Two levels a pass: half the loads and stores, the same sums.
inline void hadamard_lanes(float* x, int d) {
  int width = 1;
  for (; 4 * width <= d; width *= 4) {
    for (int block = 0; block < d; block += 4 * width) {
      for (int c = block; c < block + width; ++c) {
        const f32x16 x0 = load(x + c * 16), x1 = load(x + (c + width) * 16);
        const f32x16 x2 = load(x + (c + 2 * width) * 16), x3 = load(x + (c + 3 * width) * 16);
        const f32x16 sum0 = x0 + x1, difference0 = x0 - x1, sum1 = x2 + x3, difference1 = x2 - x3;
        store(x + c * 16, sum0 + sum1);
        store(x + (c + width) * 16, difference0 + difference1);
        store(x + (c + 2 * width) * 16, sum0 - sum1);
        store(x + (c + 3 * width) * 16, difference0 - difference1);
      }
    }
  }
  for (; width < d; width *= 2) {
    for (int c = 0; c < width; ++c) {
      const f32x16 x0 = load(x + c * 16), x1 = load(x + (c + width) * 16);
      store(x + c * 16, x0 + x1);
      store(x + (c + width) * 16, x0 - x1);
    }
  }
}

// x[c] <- x[c] * sign[c] * scale; the products are exact when scale is a power of two.
inline void flip_lanes(float* x, const float* sign, float scale, int d) {
  for (int c = 0; c < d; ++c) store(x + c * 16, load(x + c * 16) * splat(sign[c] * scale));
}

// y = M x, or M^T x, for a dense matrix [d][d]; sums run over the coordinates in order.
inline void multiply_lanes(const float* matrix, bool transposed, const float* x, float* y, int d) {
  const int along = transposed ? d : 1, across = transposed ? 1 : d;
  for (int i = 0; i < d; i += 4) {
    f32x16 sum[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
    for (int j = 0; j < d; ++j) {
      const f32x16 xj = load(x + j * 16);
      for (int k = 0; k < 4; ++k) sum[k] = sum[k] + splat(matrix[(i + k) * across + j * along]) * xj;
    }
    for (int k = 0; k < 4; ++k) store(y + (i + k) * 16, sum[k]);
  }
}

// y = P x.
inline void rotate_lanes(const Frame& frame, const float* x, float* y) {
  const int d = frame.dim;
  if (frame.dense != nullptr) return multiply_lanes(frame.dense, false, x, y, d);
  for (int c = 0; c < d; ++c) store(y + c * 16, load(x + c * 16) * splat(frame.sign_in[c]));
  hadamard_lanes(y, d);
  flip_lanes(y, frame.sign_mid, 1.0f / static_cast<float>(d), d);
  hadamard_lanes(y, d);
}

}  // namespace qjl::cpu::QJL_NAMESPACE
