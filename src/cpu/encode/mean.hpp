// The page mean before RoPE: made, rounded, and turned into what it predicts of every token. Arrays are [channel][16], a lane is
// the knot j of the tokens 8 j .. 8 j + 7.
//
//   prediction of token t = C_t mean, C_t = M_j + f/8 (M_(j+1) - M_j) as a complex factor of each turning pair
//   mean = sum_t conj(C_t) k_t / sum_t |C_t|^2 over the tokens that are not sinks: the least squares of what is left
//   |C_t|^2 = 1 - 2 (f/8) (1 - f/8) (1 - cos 8w), w the pair's frequency; 1 for a still channel, whose mean is the plain one
//
// Then int8 * mean_scale with mean_scale = max |mean| / 127. The same operations in the same order on every target.
#if defined(QJL_ENCODE_MEAN) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ENCODE_MEAN
#undef QJL_ENCODE_MEAN
#else
#define QJL_ENCODE_MEAN
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "args.hpp"
#include "encode/tokens.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "permute.hpp"
#include "scratch.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// Numbers are divided by 128 first, so that sums over a page cannot overflow.
inline constexpr float kTokenShare = 1.0f / layout::kPageTokens;
inline constexpr float kFrameStep = 1.0f / layout::kFrames;

// now[c] = sum_f (1 - f/8) x, next[c] = sum_f f/8 x over the page [frame][d][16], sinks left out.
inline void sum_frames(const float* page, int d, int num_sinks, float* now, float* next) {
  for (int c = 0; c < d; ++c) {
    f32x16 all = splat(0.0f), late = splat(0.0f);
    for (int f = 0; f < layout::kFrames; ++f) {
      const f32x16 x = select(live_lanes(f, num_sinks), load(page + (f * d + c) * 16) * splat(kTokenShare), splat(0.0f));
      all = all + x;
      late = late + x * splat(static_cast<float>(f) * kFrameStep);
    }
    store(now + c * 16, all - late);
    store(next + c * 16, late);
  }
}

// now[c] <- R(-angle_j) now + R(-angle_(j+1)) next for turning pairs, now + next for still channels, 0 for those without a mean.
inline void turn_back(const CodecTables& tables, float* now, const float* next) {
  const int pairs = tables.turning_pairs;
  for (int i = 0; i < pairs; ++i) {
    const int first = tables.mean_order[i] * 16, second = tables.mean_order[pairs + i] * 16;
    const float *cosines = tables.knot_cos + i * layout::kKnotStride, *sines = tables.knot_sin + i * layout::kKnotStride;
    const f32x16 c0 = load(cosines), c1 = load(cosines + 1), s0 = load(sines), s1 = load(sines + 1);
    const f32x16 x0 = load(now + first), x1 = load(next + first), y0 = load(now + second), y1 = load(next + second);
    store(now + first, (c0 * x0 + s0 * y0) + (c1 * x1 + s1 * y1));
    store(now + second, (c0 * y0 - s0 * x0) + (c1 * y1 - s1 * x1));
  }
  for (int i = 2 * pairs; i < tables.shape.head_dim; ++i) {
    const int c = tables.mean_order[i] * 16;
    store(now + c, i < tables.mean_channels ? load(now + c) + load(next + c) : splat(0.0f));
  }
}

// out[c] = sum of the 16 lanes, in order.
inline void sum_lanes(const float* x, int d, float* out) {
  for (int c = 0; c < d; c += 16) {
    f32x16 block[16];
    for (int i = 0; i < 16; ++i) block[i] = load(x + (c + i) * 16);
    transpose16(block);
    f32x16 sum = block[0];
    for (int i = 1; i < 16; ++i) sum = sum + block[i];
    store(out + c, sum);
  }
}

// Divides the sums of a page by sum_t |C_t|^2.
inline void divide_by_weights(const CodecTables& tables, int num_sinks, float* mean) {
  float tokens = 0.0f, between = 0.0f;  // sum of 1 and of 2 (f/8) (1 - f/8), over 128: exact
  for (int t = num_sinks; t < layout::kPageTokens; ++t) {
    const float share = static_cast<float>(t % layout::kFrames) * kFrameStep;
    tokens += kTokenShare;
    between += 2.0f * kTokenShare * share * (1.0f - share);
  }
  const int pairs = tables.turning_pairs;
  for (int i = 0; i < tables.shape.head_dim; ++i) {
    // The angle of knot 9 is 8 w.
    const float lost = i < 2 * pairs ? 1.0f - tables.knot_cos[i % pairs * layout::kKnotStride + layout::kMeanKnots / 2 + 1] : 0.0f;
    mean[tables.mean_order[i]] /= tokens - between * lost;
  }
}

// What the rounded mean predicts: base[c] at the knots, step[c] to the next token.
inline void spread_mean(const CodecTables& tables, const float* mean, float* base, float* step) {
  const int pairs = tables.turning_pairs;
  const auto put = [&](int channel, const f32x16& now, const f32x16& next) {
    store(base + channel * 16, now);
    store(step + channel * 16, (next - now) * splat(kFrameStep));
  };
  for (int i = 0; i < pairs; ++i) {
    const int first = tables.mean_order[i], second = tables.mean_order[pairs + i];
    const float *cosines = tables.knot_cos + i * layout::kKnotStride, *sines = tables.knot_sin + i * layout::kKnotStride;
    const f32x16 c0 = load(cosines), c1 = load(cosines + 1), s0 = load(sines), s1 = load(sines + 1);
    const f32x16 m1 = splat(mean[first]), m2 = splat(mean[second]);
    put(first, c0 * m1 - s0 * m2, c1 * m1 - s1 * m2);
    put(second, s0 * m1 + c0 * m2, s1 * m1 + c1 * m2);
  }
  for (int i = 2 * pairs; i < tables.shape.head_dim; ++i) {
    const f32x16 m = splat(mean[tables.mean_order[i]]);
    put(tables.mean_order[i], m, m);
  }
}

// Writes the int8 mean of scratch.page and leaves what it predicts in scratch.knots and scratch.step; returns mean_scale.
inline float encode_mean(const CodecTables& tables, int num_sinks, const EncodeScratch& scratch, std::int8_t* codes) {
  const int d = tables.shape.head_dim;
  sum_frames(scratch.page, d, num_sinks, scratch.knots, scratch.step);
  turn_back(tables, scratch.knots, scratch.step);
  sum_lanes(scratch.knots, d, scratch.mean);
  divide_by_weights(tables, num_sinks, scratch.mean);
  f32x16 largest = splat(0.0f);
  for (int c = 0; c < d; c += 16) largest = max(largest, abs(load(scratch.mean + c)));
  const float scale = reduce_max(largest) / 127.0f;
  for (int c = 0; c < d; ++c) {
    const float steps = scale > 0.0f ? std::nearbyint(scratch.mean[c] / scale) : 0.0f;
    codes[c] = static_cast<std::int8_t>(std::clamp(steps, -127.0f, 127.0f));
    scratch.mean[c] = scale * static_cast<float>(codes[c]);
  }
  spread_mean(tables, scratch.mean, scratch.knots, scratch.step);
  return scale;
}

// x <- the 16 tokens of a frame less their prediction.
inline void take_residual(const EncodeScratch& scratch, int frame, int d) {
  const float* rows = scratch.page + frame * d * 16;
  const f32x16 share = splat(static_cast<float>(frame));
  for (int c = 0; c < d * 16; c += 16) {
    store(scratch.x + c, load(rows + c) - (load(scratch.knots + c) + share * load(scratch.step + c)));
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
