// The running softmax of one row over a pass of up to four pages, and its weights as bytes.
//
//   e = exp(s - m), sum += e;  w = e * value scale;  byte = floor(255 w / max w of the frame + offset), scale = sum w / sum byte
//   offset = dither for the smallest weights, 1/2 for the others
//
// One plane of 8 bits is enough: a weight's rounding is at most 1/255 of its frame's largest, whose own token carries an error of
// 9 % (l16) to 36 % (l4). What would be lost is the mass of many small weights beside a large one: the dither, fixed numbers that
// fill [0, 1) evenly, keeps the expectation of a byte at its weight (and doubles its variance: larger weights do without), and the
// scale makes the bytes of a frame sum to its weights.
#if defined(QJL_BYTES_WEIGHTS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_BYTES_WEIGHTS
#undef QJL_BYTES_WEIGHTS
#else
#define QJL_BYTES_WEIGHTS
#endif

#include <cstdint>
#include <cstring>
#include <limits>

#include "bytes/fetch.hpp"
#include "bytes/shape.hpp"
#include "bytes/values_avx512vbmi.hpp"
#include "bytes/vectors.hpp"
#include "exp.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "permute.hpp"
#include "tile/accumulators.hpp"

#if QJL_BYTE_LOOPS
QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// Multiples of the golden ratio, modulo 1: any run of them is spread evenly.
struct Dither {
  alignas(64) float of[kPassTokens / layout::kFrames];
};
constexpr Dither dither() {
  Dither d{};
  for (int i = 0; i < kPassTokens / layout::kFrames; ++i) {
    const double multiple = 0.61803398874989485 * (i + 1);
    d.of[i] = static_cast<float>(multiple - static_cast<int>(multiple));
  }
  return d;
}
inline constexpr Dither kDither = dither();
inline constexpr float kDithered = 4.0f;  // steps of a weight below which it is dithered

// One row's scores [count * 128], slot order, and where its weights go.
struct PassRow {
  int count;
  int first_page;  // modulo kPassPages
  const float* scores;
  const float* value_scales;  // [count * 128]
  std::uint8_t* weights;      // [8 frames][4 quads][kPassPages][4]
  float* weight_scales;       // [8 frames]
};

// The reference moves up to the largest score. Returns whether any token counted so far.
template <int kPages>
QJL_INLINE bool follow_scores(const Accumulators& state, int row, const float* scores) {
  f32x16 largest[2] = {load(scores), load(scores + 16)};
  QJL_UNROLL
  for (int slot = 32; slot < kPages * layout::kPageTokens; slot += 32) {
    largest[0] = max(largest[0], load(scores + slot));
    largest[1] = max(largest[1], load(scores + slot + 16));
  }
  largest[0] = max(largest[0], largest[1]);
  if (any_above(largest[0], state.reference[row])) move_reference(state, row, reduce_max(largest[0]));
  return state.reference[row] > -std::numeric_limits<float>::infinity();
}

// Weights e * value scale of the pages of a pass, [frame][page]; their sum and their largest by frame and lane.
template <int kPages>
struct Weights {
  f32x16 of[layout::kFrames][kPages], mass[layout::kFrames], top[layout::kFrames];
};

template <int kPages>
QJL_INLINE void make_weights(const Accumulators& state, int row, const PassRow& pass, Weights<kPages>& weights, Fetcher& fetcher) {
  const f32x16 below = splat(-state.reference[row] * kLog2E), log2e = splat(kLog2E);
  f32x16 sum[2] = {load(state.sums + row * 16), splat(0.0f)};
  QJL_UNROLL
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    if constexpr (kPages == 1) fetcher.frame();
    QJL_UNROLL
    for (int page = 0; page < kPages; ++page) {
      const int slot = page * layout::kPageTokens + frame * layout::kFrameSlots;
      const f32x16 e = exp2_below(fused_multiply_add(load(pass.scores + slot), log2e, below));
      const f32x16 weight = e * load(pass.value_scales + slot);
      weights.of[frame][page] = weight;
      sum[frame % 2] = sum[frame % 2] + e;
      weights.mass[frame] = page == 0 ? weight : weights.mass[frame] + weight;
      weights.top[frame] = page == 0 ? weight : max(weights.top[frame], weight);
    }
    weights.top[frame] = weight_reach(weights.top[frame]);
  }
  store(state.sums + row * 16, sum[0] + sum[1]);
}

// Weights become bytes; returns the sum of each frame's, in lanes f and f + 8.
template <int kPages>
QJL_INLINE f32x16 make_bytes(const PassRow& pass, const Weights<kPages>& weights, f32x16 largest) {
  alignas(64) float per_step[2 * layout::kFrames], dithered[2 * layout::kFrames];
  store(per_step, splat(static_cast<float>(kWeightLevels)) / largest);
  store(dithered, largest * splat(kDithered / kWeightLevels));
  f32x16 offset[kPages], mass[layout::kFrames];
  QJL_UNROLL
  for (int page = 0; page < kPages; ++page) {
    offset[page] = load(kDither.of + (pass.first_page + page) % kPassPages * layout::kFrameSlots);
  }
  QJL_UNROLL
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    i32x16 byte[kPages], bytes;
    QJL_UNROLL
    for (int page = 0; page < kPages; ++page) {
      const f32x16 weight = weights.of[frame][page];
      const f32x16 rest = select(weight < splat(dithered[frame]), offset[page], splat(0.5f));
      byte[page] = to_i32(fused_multiply_add(weight, splat(per_step[frame]), rest));
      bytes = page == 0 ? byte[page] : bytes + byte[page];
    }
    store_weights(byte, pass.weights + frame * layout::kLineBytes);
    mass[frame] = to_f32(bytes);
  }
  return sum_of_lanes(mass);
}

// Frames go side by side, so that no frame waits for its own largest weight.
template <int kPages>
inline bool weigh_pages(const Accumulators& state, int row, const PassRow& pass, Fetcher& fetcher) {
  if (!follow_scores<kPages>(state, row, pass.scores)) return false;
  Weights<kPages> weights;
  make_weights(state, row, pass, weights, fetcher);
  const f32x16 bytes = make_bytes(pass, weights, max(max_of_lanes(weights.top), splat(1e-36f)));
  alignas(64) float scales[2 * layout::kFrames];
  store(scales, sum_of_lanes(weights.mass) / max(bytes, splat(1.0f)));
  std::memcpy(pass.weight_scales, scales, layout::kFrames * sizeof(float));
  return true;
}

// Returns whether any token counts.
inline bool weigh_row(const Accumulators& state, int row, const PassRow& pass, Fetcher& fetcher) {
  switch (pass.count) {
    case 1: return weigh_pages<1>(state, row, pass, fetcher);
    case 2: return weigh_pages<2>(state, row, pass, fetcher);
    case 3: return weigh_pages<3>(state, row, pass, fetcher);
    default: return weigh_pages<4>(state, row, pass, fetcher);
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END
#endif

#endif
