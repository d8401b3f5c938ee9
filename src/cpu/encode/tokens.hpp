// 16 tokens on their way to codes, one a lane: loaded, brought to a common magnitude, rotated. Keys and values alike. Arrays are
// [coordinate][16].
//
//   x      brought between 1 and 2 in its largest coordinate by a power of two, so that squares neither overflow nor vanish
//   y_f    P_f x
//
// Every lane does the same IEEE operations, or the same whole numbers, in the same order on every target: the bytes are the same.
#if defined(QJL_ENCODE_TOKENS) == defined(QJL_TARGET_TOGGLE)
#ifdef QJL_ENCODE_TOKENS
#undef QJL_ENCODE_TOKENS
#else
#define QJL_ENCODE_TOKENS
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "args.hpp"
#include "encode/scales.hpp"
#include "frame.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "permute.hpp"
#include "rotate/tokens.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

static_assert(kLanes == layout::kFrameSlots);

inline f32x16 squared_norm(const float* y, int d) {
  f32x16 sum = splat(0.0f);
  for (int c = 0; c < d; ++c) sum = sum + load(y + c * 16) * load(y + c * 16);
  return sum;
}

// sum_c term(c), four sums under way; d is a multiple of 4.
template <typename Term>
QJL_INLINE f32x16 sum_of(int d, const Term& term) {
  f32x16 sum[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
  for (int c = 0; c < d; c += 4) {
    QJL_UNROLL
    for (int k = 0; k < 4; ++k) sum[k] = sum[k] + term(c + k);
  }
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// x <- x * 2^-e / gain with 2^e <= max |x| < 2^(e+1); returns 2^e. gain is a power of two.
inline f32x16 normalise(float* x, int d, float gain) {
  f32x16 largest = splat(0.0f);
  for (int c = 0; c < d; ++c) largest = max(largest, abs(load(x + c * 16)));
  const f32x16 bounded = max(min(largest, splat(0x1p126f)), splat(0x1p-126f));
  const u32x16 exponent = as_u32(bounded) & splat_u32(0x7f800000u);
  const f32x16 inverse = as_f32(splat_u32(254u << 23) - exponent);
  for (int c = 0; c < d; ++c) store(x + c * 16, load(x + c * 16) * inverse * splat(1.0f / gain));
  return as_f32(exponent);
}

// The 16 vectors in x (used up), in `count` frames: y [count][d][16] = P_f x 2^-e.
struct Rotated {
  f32x16 magnitude;  // 2^e
  f32x16 squared;    // |P x 2^-e|^2
  f32x16 to_unit;    // brings P x 2^-e to norm sqrt(d); 0 for a zero vector
};
inline Rotated rotate_group(const Frame* frames, int count, float* x, float* y) {
  const int d = frames[0].dim;
  const float root = std::sqrt(static_cast<float>(d));
  const f32x16 magnitude = normalise(x, d, frames[0].dense == nullptr ? static_cast<float>(d) : 1.0f);
  rotate_lanes(frames, count, x, y);
  const f32x16 squared = sum_of(d, [y](int c) { return load(y + c * 16) * load(y + c * 16); });
  return {magnitude, squared, safe_divide(splat(root), sqrt(squared))};
}

// Lanes of frame f whose token is coded: token 8 lane + f >= num_sinks.
QJL_INLINE i32x16 live_lanes(int frame, int num_sinks) {
  return lane_numbers() * splat_i32(layout::kFrames) + splat_i32(frame) >= splat_i32(num_sinks);
}

// x[c][lane] = channel c of token 8 lane + frame.
inline void load_frame(const std::uint16_t* rows, std::int64_t stride, DType dtype, int frame, int d, float* x) {
  for (int c = 0; c < d; c += 16) {
    f32x16 block[16];
    for (int lane = 0; lane < 16; ++lane) block[lane] = load_row(rows + (layout::kFrames * lane + frame) * stride + c, dtype);
    transpose16(block);
    for (int i = 0; i < 16; ++i) store(x + (c + i) * 16, block[i]);
  }
}

// The exact rows of a page in slot order, sinks as zero.
inline void copy_rows(const std::uint16_t* rows, std::int64_t stride, int num_sinks, int d, std::uint8_t* out) {
  const std::size_t row_bytes = static_cast<std::size_t>(d) * sizeof(std::uint16_t);
  for (int slot = 0; slot < layout::kPageTokens; ++slot) {
    const int token = layout::token_of_slot(slot);
    if (token < num_sinks)
      std::memset(out + slot * row_bytes, 0, row_bytes);
    else
      std::memcpy(out + slot * row_bytes, rows + token * stride, row_bytes);
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
