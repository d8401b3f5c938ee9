// What the page mean adds to the scores of a page, and what it predicts of a key. page.hpp says how the mean turns.
//
//   <q, prediction of token 8 j + f> = base[j] + f step[j],   base[j] = K_j,  step[j] = (K_(j+1) - K_j) / 8,  K_n = <q, M_n>
//   K_n = sum over still channels of q m + sum over turning pairs of A cos(angle_n) + B sin(angle_n)
//         A = q1 m1 + q2 m2,  B = q2 m1 - q1 m2
//
// Queries and mean are given in the mean's order of channels (CodecTables::mean_order), so that pairs stand in two runs. Cost per
// page and query: d + 4 lanes of 16 a turning pair. Header of a pass: see foreach_target.hpp. Needs simd.hpp.
namespace qjl::cpu::QJL_NAMESPACE {

// Slot (frame f, lane j), token 8 j + f, gets base[j] + f * step[j].
struct MeanLine {
  float base[16], step[16];
};

// Scores of the 16 slots of a frame from the codes' sums. Every score of a rotated code is made here.
QJL_INLINE f32x16 slot_scores(f32x16 sum, f32x16 scale, const MeanLine& mean, int frame) {
  const f32x16 line = fused_multiply_add(splat(static_cast<float>(frame)), load(mean.step), load(mean.base));
  return fused_multiply_add(sum, scale, line);
}

// x in the mean's order, zero beyond.
inline void order_channels(const CodecTables& tables, const float* x, float* out) {
  const int d = tables.shape.head_dim;
  for (int i = 0; i < d; ++i) out[i] = x[tables.mean_order[i]];
  std::fill_n(out + d, 16, 0.0f);
}

// The mean of a page [d + 16] in its order; zero in channels without a mean and beyond.
inline void decode_mean(const CodecTables& tables, const std::uint8_t* codes, float scale, float* mean) {
  const auto* steps = reinterpret_cast<const std::int8_t*>(codes);
  const int count = tables.mean_channels;
  for (int i = 0; i < count; ++i) mean[i] = scale * static_cast<float>(steps[tables.mean_order[i]]);
  std::fill(mean + count, mean + tables.shape.head_dim + 16, 0.0f);
}

// The line of one query.
inline MeanLine mean_line(const CodecTables& tables, const float* mean, const float* query) {
  const int pairs = tables.turning_pairs;
  f32x16 sum = splat(0.0f);
  for (int c = 2 * pairs; c < tables.mean_channels; c += 16) sum = fused_multiply_add(load(query + c), load(mean + c), sum);
  f32x16 knots = splat(reduce_add(sum)), next = knots;
  alignas(64) float along[layout::kMaxHeadDim / 2], across[layout::kMaxHeadDim / 2];
  for (int i = 0; i < pairs; i += 16) {
    const f32x16 q1 = load(query + i), q2 = load(query + pairs + i), m1 = load(mean + i), m2 = load(mean + pairs + i);
    store(along + i, fused_multiply_add(q1, m1, q2 * m2));
    store(across + i, q2 * m1 - q1 * m2);
  }
  for (int i = 0; i < pairs; ++i) {
    const float *cosines = tables.knot_cos + i * layout::kKnotStride, *sines = tables.knot_sin + i * layout::kKnotStride;
    const f32x16 a = splat(along[i]), b = splat(across[i]);
    knots = fused_multiply_add(b, load(sines), fused_multiply_add(a, load(cosines), knots));
    next = fused_multiply_add(b, load(sines + 1), fused_multiply_add(a, load(cosines + 1), next));
  }
  MeanLine line;
  store(line.base, knots);
  store(line.step, (next - knots) * splat(1.0f / layout::kKnotTokens));
  return line;
}

// The key that the mean predicts for a token of the page: out [d], in the order of the head.
inline void predict_key(const CodecTables& tables, const float* mean, int token, float* out) {
  const int pairs = tables.turning_pairs, knot = token / layout::kKnotTokens;
  const float share = static_cast<float>(token % layout::kKnotTokens) * (1.0f / layout::kKnotTokens);
  for (int i = 0; i < pairs; ++i) {
    const float *cosines = tables.knot_cos + i * layout::kKnotStride + knot,
                *sines = tables.knot_sin + i * layout::kKnotStride + knot;
    const float cosine = cosines[0] + share * (cosines[1] - cosines[0]), sine = sines[0] + share * (sines[1] - sines[0]);
    const float m1 = mean[i], m2 = mean[pairs + i];
    out[tables.mean_order[i]] = cosine * m1 - sine * m2;
    out[tables.mean_order[pairs + i]] = sine * m1 + cosine * m2;
  }
  for (int i = 2 * pairs; i < tables.shape.head_dim; ++i) out[tables.mean_order[i]] = mean[i];
}

}  // namespace qjl::cpu::QJL_NAMESPACE
