// What the encoders of rotated codes share. 16 vectors at once, a token a lane; keys and values alike. Arrays are [coordinate][16].
//
//   x      brought between 1 and 2 in its largest coordinate by a power of two, so that squares neither overflow nor vanish
//   scale  |x|^2 / <x, r>, r = sum_f P_f^T level[c_f], 0 for x = 0
//   words  four codes a 32-bit word, a byte each, [word][16]: the order of their coordinates suits the packing
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
#include "estimator.hpp"
#include "frame.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "permute.hpp"
#include "rotate/tokens.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

static_assert(kLanes == layout::kFrameSlots);

// Coordinates first(w) + k stride, k = 0..3, are the bytes of word w: neighbours (keys), or 16 apart (values: a word holds the same
// channel of four blocks). The last words of values may not be full; the other bytes are 0.
struct WordOrder {
  int coordinates, stride;
  static WordOrder of_keys(int coordinates) { return {coordinates, 1}; }
  static WordOrder of_values(int coordinates) { return {coordinates, kLanes}; }
  int words() const { return stride == 1 ? coordinates / 4 : (coordinates + 63) / 64 * kLanes; }
  int first(int word) const { return stride == 1 ? 4 * word : word / kLanes * 64 + word % kLanes; }
  int bytes(int word) const { return stride == 1 ? 4 : std::min(4, (coordinates - word / kLanes * 64) / kLanes); }
};

// The word of byte(coordinate), numbers below 256.
template <typename Byte>
QJL_INLINE u32x16 make_word(const WordOrder& order, int word, const Byte& byte) {
  const int first = order.first(word), bytes = order.bytes(word);
  u32x16 bits = byte(first);
  QJL_UNROLL
  for (int k = 1; k < 4; ++k) {
    if (k < bytes) bits = bits | byte(first + k * order.stride) << 8 * k;
  }
  return bits;
}

QJL_INLINE f32x16 safe_divide(f32x16 a, f32x16 b) {  // a / b, 0 where b <= 0
  const i32x16 positive = b > splat(0.0f);
  return select(positive, a / select(positive, b, splat(1.0f)), splat(0.0f));
}

// |x|^2 / <x, r>, see estimator.hpp; 0 for a zero vector.
QJL_INLINE f32x16 closing_scale(f32x16 squared, f32x16 dot) { return safe_divide(squared, dot); }

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

// scale_code() of 16 slots: as many steps as thresholds are reached. Where a scale is 0 or `largest` is, the ratio is too small or
// NaN.
QJL_INLINE u32x16 scale_codes(const f32x16& scale, float largest) {
  const f32x16 ratio = scale / splat(largest);
  const i32x16 coded = ratio >= splat(0.5f * scale_factor(1));
  const f32x16 mantissa = as_f32((as_u32(ratio) & splat_u32(0x7fffffu)) | splat_u32(0x3f800000u));
  const i32x16 octave = as_i32(as_u32(ratio) >> 23) - splat_i32(127);
  i32x16 code = octave * splat_i32(kScaleStepsPerOctave) + splat_i32(kScaleCodeMax);
  for (const float threshold : kScaleTables.threshold) code = code - (mantissa >= splat(threshold));
  code = select(code < splat_i32(1), splat_i32(1), code);
  code = select(code > splat_i32(kScaleCodeMax), splat_i32(kScaleCodeMax), code);
  return as_u32(select(coded, code, splat_i32(0)));
}

// 8-bit codes of the page's scales [128]; returns their maximum.
inline float encode_scales(const float* scales, std::uint8_t* codes) {
  f32x16 most = splat(0.0f);
  for (int slot = 0; slot < layout::kPageTokens; slot += 16) most = max(most, load(scales + slot));
  const float largest = reduce_max(most);
  for (int slot = 0; slot < layout::kPageTokens; slot += 16) {
    alignas(64) std::uint32_t code[16];
    store_u32(code, scale_codes(load(scales + slot), largest));
    for (int i = 0; i < 16; ++i) codes[slot + i] = static_cast<std::uint8_t>(code[i]);
  }
  return largest;
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
