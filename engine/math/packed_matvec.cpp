// Packed weights times quantized activations, compiled once per instruction set.
//
//   y[r] = sum_b scale[r][b] xs[b] dot_b + offset[r][b] xs[b] sum_b,   dot_b = sum over 32 columns of code * (128 high + low)
//
// dot_b is exact in 32 bits: 255 * 16320 * 32 < 2^31. The weights are read once for up to eight tokens; they stay in registers
// while the tokens pass.
#define QJL_THIS_FILE "packed_matvec.cpp"
#define QJL_WITH_BYTE_DOTS
#include "foreach_target.hpp"
#ifdef QJL_PASS

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "dots.hpp"
#include "lanes.hpp"
#include "packed_codes.hpp"
#include "packed_weight.hpp"

QJL_PASS_BEGIN
namespace qjl::engine::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// Vectors [first, last) of a block: all of it, or a half.
template <CodeWidth width, int first, int last>
QJL_INLINE i32x16 add_dot(i32x16 sum, const u32x16 (&codes)[8], const std::int8_t* x) {
  for (int j = first; j < last; ++j) {
    if constexpr (width == CodeWidth::bytes) {
      sum = dot_any(sum, codes[j], four_bytes(x + 4 * j));
    } else {
      sum = dot_small(sum, codes[j], four_bytes(x + 4 * j));
    }
  }
  return sum;
}

template <CodeWidth width, int first, int last>
QJL_INLINE f32x16 dot_block(const u32x16 (&codes)[8], const std::int8_t (&high_low)[2][kBlockColumns]) {
  const i32x16 high = add_dot<width, first, last>(splat_i32(0), codes, high_low[0]);
  return to_f32(add_dot<width, first, last>(high << 7, codes, high_low[1]));
}

// What one block adds to the sums of N tokens; at the block's scales and offsets.
template <CodeWidth width, bool has_offsets, int N>
QJL_INLINE void add_block(const u32x16 (&codes)[8], const std::byte* scales, const std::byte* offsets, f32x16 centre,
                          const QuantizedBlock& x, f32x16 (&sum)[N]) {
  const f32x16 scale = load_half(scales);
  if constexpr (width == CodeWidth::sixes) {
    const f32x16 second = load_half(scales + PackedWeight::kScaleBytes);
    const f32x16 offset = scale * centre, second_offset = second * centre;
    for (int n = 0; n < N; ++n) {
      const f32x16 dot = dot_block<width, 0, 4>(codes, x.high_low[n]), second_dot = dot_block<width, 4, 8>(codes, x.high_low[n]);
      const f32x16 step = splat(x.scale[n]);
      sum[n] =
          fused_multiply_add(offset, splat(x.half_sum[0][n]), fused_multiply_add(second_offset, splat(x.half_sum[1][n]), sum[n]));
      sum[n] = fused_multiply_add(scale * step, dot, fused_multiply_add(second * step, second_dot, sum[n]));
    }
  } else {
    const f32x16 offset = has_offsets ? load_half(offsets) : scale * centre;
    for (int n = 0; n < N; ++n) {
      const f32x16 dot = dot_block<width, 0, 8>(codes, x.high_low[n]);
      sum[n] = fused_multiply_add(scale * splat(x.scale[n]), dot, fused_multiply_add(offset, splat(x.scaled_sum[n]), sum[n]));
    }
  }
}

// Bytes between what is read and what is asked for: a trip to memory at full speed. Half of it costs 5 % on one thread.
inline constexpr std::int64_t kLead = std::int64_t{16} << 10;

// N tokens (a power of two; the last may be padding) and one group of rows.
template <CodeWidth width, bool has_offsets, int N>
inline void packed_group(const PackedMatvecArgs& a, std::int64_t group) {
  const PackedWeight& w = *a.weight;
  const std::byte *codes = w.codes(group), *scales = w.scales(group), *offsets = w.offsets(group);
  constexpr std::int64_t kStep = code_bytes_of(width), kScaleStep = scales_of(width) * PackedWeight::kScaleBytes;
  const std::int64_t num_blocks = w.blocks();
  const f32x16 centre = splat(width == CodeWidth::bytes ? kSigned - w.centre() : -w.centre());
  f32x16 sum[N];
  for (int n = 0; n < N; ++n) sum[n] = splat(0.0f);
  // Asked for now, it is there when its turn comes, page borders or not.
  const std::byte *ahead = codes + kLead, *end = w.codes(a.group_end);
  if (ahead >= end && a.next != nullptr) ahead = a.next + (ahead - end);
  const std::int64_t ahead_step = w.group_bytes() / num_blocks;
  for (std::int64_t b = 0; b < num_blocks; ++b, ahead += ahead_step) {
    for (std::int64_t i = 0; i < ahead_step; i += 64) __builtin_prefetch(ahead + i, 0, 2);
    u32x16 block[8];
    load_codes<width>(codes + b * kStep, block);
    add_block<width, has_offsets>(block, scales + b * kScaleStep, offsets + b * PackedWeight::kScaleBytes, centre, a.x[b], sum);
  }
  const std::int64_t row = group * kGroupRows, rows = std::min(kGroupRows, w.rows() - row);
  for (int n = 0; n < std::min<std::int64_t>(N, a.tokens); ++n) {
    float lanes[kGroupRows];
    store(lanes, sum[n]);
    std::copy_n(lanes, rows, a.out + n * a.out_stride + row);
  }
}

template <CodeWidth width, bool has_offsets>
void packed_tokens(const PackedMatvecArgs& a) {
  for (std::int64_t group = a.group_begin; group < a.group_end; ++group) {
    switch (std::bit_ceil(static_cast<std::uint64_t>(a.tokens))) {
      case 1: packed_group<width, has_offsets, 1>(a, group); break;
      case 2: packed_group<width, has_offsets, 2>(a, group); break;
      case 4: packed_group<width, has_offsets, 4>(a, group); break;
      default: packed_group<width, has_offsets, 8>(a, group);
    }
  }
}

inline void packed_matvec(const PackedMatvecArgs& a) {
  const bool has_offsets = a.weight->has_offsets();
  switch (a.weight->width()) {
    case CodeWidth::bytes: return packed_tokens<CodeWidth::bytes, false>(a);
    case CodeWidth::nibbles:
      return has_offsets ? packed_tokens<CodeWidth::nibbles, true>(a) : packed_tokens<CodeWidth::nibbles, false>(a);
    case CodeWidth::fives:
      return has_offsets ? packed_tokens<CodeWidth::fives, true>(a) : packed_tokens<CodeWidth::fives, false>(a);
    case CodeWidth::sixes: return packed_tokens<CodeWidth::sixes, false>(a);
  }
}

// 16 columns of one row: integers in two bytes each; returns the sum.
inline std::int32_t split(const float* in, float to_integer, std::int8_t* high, std::int8_t* low) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the last bits
  std::int32_t sum = 0;
  for (int i = 0; i < kBlockColumns / 2; ++i) {
    const std::int32_t v = std::bit_cast<std::int32_t>(in[i] * to_integer + kRound) - std::bit_cast<std::int32_t>(kRound);
    const std::int32_t h = (v + 64) >> 7;
    high[i] = static_cast<std::int8_t>(h);
    low[i] = static_cast<std::int8_t>(v - 128 * h);
    sum += v;
  }
  return sum;
}

inline void quantize_row(const float* in, QuantizedBlock& block, std::int64_t t) {
  constexpr float kLargest = 127.0f * 128.0f, kSmallest = 1e-30f;  // below it the scale would be subnormal: such numbers are zero
  std::int8_t *high = block.high_low[t][0], *low = block.high_low[t][1];
  std::int32_t largest = 0;  // magnitudes of floats compare as integers
  for (int i = 0; i < kBlockColumns; ++i) largest = std::max(largest, std::bit_cast<std::int32_t>(in[i]) & 0x7fffffff);
  const float magnitude = std::bit_cast<float>(largest);
  if (!(magnitude >= kSmallest && magnitude <= std::numeric_limits<float>::max())) {
    std::memset(high, 0, 2 * kBlockColumns);
    block.scale[t] = block.scaled_sum[t] = magnitude < kSmallest ? 0.0f : std::numeric_limits<float>::quiet_NaN();
    block.half_sum[0][t] = block.half_sum[1][t] = block.scale[t];
    return;
  }
  constexpr std::int64_t kHalf = kBlockColumns / 2;
  const float to_integer = kLargest / magnitude;
  const std::int32_t first = split(in, to_integer, high, low), second = split(in + kHalf, to_integer, high + kHalf, low + kHalf);
  block.scale[t] = magnitude / kLargest;
  block.scaled_sum[t] = block.scale[t] * static_cast<float>(first + second);
  block.half_sum[0][t] = block.scale[t] * static_cast<float>(first);
  block.half_sum[1][t] = block.scale[t] * static_cast<float>(second);
}

inline void quantize(const Activations& x, std::int64_t columns, QuantizedBlock* out) {
  static constexpr float kZeros[kBlockColumns] = {};
  const auto padded = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(x.tokens)));
  for (std::int64_t b = 0; b < columns / kBlockColumns; ++b) {
    for (std::int64_t t = 0; t < padded; ++t) {
      quantize_row(t < x.tokens ? x.data + t * x.stride + b * kBlockColumns : kZeros, out[b], t);
    }
  }
}

}  // namespace qjl::engine::QJL_NAMESPACE
QJL_PASS_END

#else

namespace qjl::engine {

void packed_matvec(const PackedMatvecArgs& args, SimdTarget target) { return QJL_ON_TARGET(target, packed_matvec)(args); }
void packed_matvec(const PackedMatvecArgs& args) { packed_matvec(args, simd_target()); }

void quantize(const Activations& x, std::int64_t columns, QuantizedBlock* out, SimdTarget target) {
  return QJL_ON_TARGET(target, quantize)(x, columns, out);
}
void quantize(const Activations& x, std::int64_t columns, QuantizedBlock* out) { quantize(x, columns, out, simd_target()); }

}  // namespace qjl::engine

#endif
