// The paper's own codes (arXiv 2406.03482), one page of one kv head.
//
//   keys    sign(S k_in), fp16 |k_in|; the n_out channels of largest energy apart: sign(S_o k_out), fp16 |k_out|
//   values  per token and 32 channels: code = round((v - min) / step) in 0..3, step = (max - min) / 3, both fp16
//
// The inlier norm is stored itself: subtracting two rounded norms, as the released code does, can give NaN.
// A constant group has step 0 and is exact. Same IEEE operations on every target.
#if defined(QJL_ENCODE_PAPER) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ENCODE_PAPER
#undef QJL_ENCODE_PAPER
#else
#define QJL_ENCODE_PAPER
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "args.hpp"
#include "encode/tokens.hpp"
#include "half.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "scratch.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

QJL_INLINE std::uint16_t saturated_half(float number) { return float_to_half(std::clamp(number, -kHalfMax, kHalfMax)); }

// Writes the channels of largest energy over the page, ascending; equal energies keep the lower channel.
inline void choose_channels(const EncodeArgs& args, std::int64_t i, float* energy, std::uint8_t* chosen) {
  const int d = args.tables->shape.head_dim, count = args.tables->shape.outlier_channels;
  for (int c = 0; c < d; c += 16) {
    f32x16 sum = splat(0.0f);
    for (int t = args.num_sinks[i]; t < layout::kPageTokens; ++t) {
      const f32x16 k = load_row(args.rows[i] + t * args.token_stride + c, args.row_dtype);
      sum = sum + k * k;
    }
    store(energy + c, sum);
  }
  bool taken[layout::kMaxHeadDim] = {};
  for (int n = 0; n < count; ++n) {
    int best = -1;
    for (int c = 0; c < d; ++c) {
      if (!taken[c] && (best < 0 || energy[c] > energy[best])) best = c;
    }
    taken[best] = true;
  }
  for (int c = 0, n = 0; c < d; ++c) {
    if (taken[c]) chosen[n++] = static_cast<std::uint8_t>(c);
  }
}

// Bits sign(S x) of 16 tokens, x [dim][16]: bits of token `lane` go to out[slot lane][row_bytes]; 1 means minus.
inline void sketch_signs(const float* sketch, int rows, int dim, const float* x, const i32x16& live, std::uint8_t* out) {
  const int row_bytes = rows / 8;
  for (int byte = 0; byte < row_bytes; ++byte) {
    u32x16 bits = splat_u32(0);
    for (int k = 0; k < 8; ++k) {
      const float* row = sketch + std::int64_t{8 * byte + k} * dim;
      f32x16 sum = splat(0.0f);
      for (int c = 0; c < dim; ++c) sum = sum + splat(row[c]) * load(x + c * 16);
      bits = bits | select(sum < splat(0.0f), splat_u32(1u << k), splat_u32(0));
    }
    std::uint32_t lane[16];
    store_u32(lane, bits & as_u32(live));
    for (int j = 0; j < 16; ++j) out[j * row_bytes + byte] = static_cast<std::uint8_t>(lane[j]);
  }
}

// fp16 norms of 16 tokens, x [dim][16].
inline void store_norms(const float* x, int dim, const i32x16& live, std::uint8_t* out) {
  float norm[16];
  store(norm, select(live, sqrt(squared_norm(x, dim)), splat(0.0f)));
  for (int j = 0; j < 16; ++j) {
    const std::uint16_t half = saturated_half(norm[j]);
    std::memcpy(out + j * sizeof(half), &half, sizeof(half));
  }
}

inline void encode_sketch(const EncodeArgs& args, std::int64_t i, const layout::BodyLayout& at, const EncodeScratch& scratch) {
  const CodecTables& tables = *args.tables;
  const int d = tables.shape.head_dim, m = tables.shape.sketch_rows, outlier_m = tables.shape.outlier_rows,
            count = tables.shape.outlier_channels;
  std::uint8_t *body = args.bodies[i], *chosen = body + at.outlier_idx;
  if (count > 0 && args.choose_outliers[i] != 0) {
    std::memset(chosen, 0, static_cast<std::size_t>(at.key_norms - at.outlier_idx));
    choose_channels(args, i, scratch.mean, chosen);
  }
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    const i32x16 live = live_lanes(frame, args.num_sinks[i]);
    const std::int64_t slot = layout::kFrameSlots * frame;
    load_frame(args.rows[i], args.token_stride, args.row_dtype, frame, d, scratch.x);
    for (int n = 0; n < count; ++n) {
      store(scratch.rotated + n * 16, load(scratch.x + chosen[n] * 16));
      store(scratch.x + chosen[n] * 16, splat(0.0f));
    }
    store_norms(scratch.x, d, live, body + at.key_norms + slot * 2);
    sketch_signs(tables.sketch, m, d, scratch.x, live, body + at.keys + slot * (m / 8));
    if (count == 0) continue;
    store_norms(scratch.rotated, count, live, body + at.outlier_norms + slot * 2);
    sketch_signs(tables.outlier_sketch, outlier_m, count, scratch.rotated, live, body + at.outlier_keys + slot * (outlier_m / 8));
  }
}

// One group of up to 32 channels of one token: its minimum and step as fp16, and its codes.
inline void encode_minmax_group(const float* v, int count, std::uint8_t* step_at, std::uint8_t* minimum_at, std::uint8_t* codes) {
  const auto [low, high] = std::minmax_element(v, v + count);
  const std::uint16_t minimum = saturated_half(*low), step = saturated_half((*high - *low) / 3.0f);
  std::memcpy(minimum_at, &minimum, sizeof(minimum));
  std::memcpy(step_at, &step, sizeof(step));
  const float base = half_to_float(minimum), unit = half_to_float(step);
  for (int c = 0; c < count; ++c) {
    const float steps = unit > 0.0f ? std::clamp(std::nearbyint((v[c] - base) / unit), 0.0f, 3.0f) : 0.0f;
    codes[c / 4] |= static_cast<std::uint8_t>(static_cast<unsigned>(steps) << 2 * (c % 4));
  }
}

inline void encode_minmax(const EncodeArgs& args, std::int64_t i, const layout::BodyLayout& at) {
  const int d = args.tables->shape.head_dim, groups = layout::minmax_groups(d);
  std::uint8_t* body = args.bodies[i];
  std::memset(body + at.value_steps, 0, static_cast<std::size_t>(at.keys - at.value_steps));
  for (int slot = 0; slot < layout::kPageTokens; ++slot) {
    const int token = layout::token_of_slot(slot);
    if (token < args.num_sinks[i]) continue;
    float v[layout::kMaxHeadDim];
    for (int c = 0; c < d; ++c) v[c] = to_float(args.rows[i][token * args.token_stride + c], args.row_dtype);
    for (int group = 0; group < groups; ++group) {
      const int first = group * layout::kMinMaxGroup, count = std::min(layout::kMinMaxGroup, d - first);
      const std::int64_t pair = (std::int64_t{slot} * groups + group) * 2;
      encode_minmax_group(v + first, count, body + at.value_steps + pair, body + at.value_minima + pair,
                          body + at.values + std::int64_t{slot} * (d / 4) + first / 4);
    }
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
