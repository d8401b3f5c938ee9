// Packed weights times quantized activations, for one target: included inside its namespace after its lanes and dot products.
//
//   y[r] = sum_b scale[r][b] xs[b] dot_b + offset[r][b] xs[b] sum_b,   dot_b = sum over 32 columns of code * (128 high + low)
//
// dot_b is exact in 32 bits: 255 * 16320 * 32 < 2^31. The weights are read once for up to eight tokens; they stay in registers
// while the tokens pass.
template <CodeWidth width>
QJL_LANES_INLINE void load_codes(const std::byte* p, Bytes64 (&codes)[8]) {
  if constexpr (width == CodeWidth::nibbles) {
    for (int j = 0; j < 4; ++j) {
      const Bytes64 both = load_bytes(p + 64 * j);
      codes[j] = low_nibbles(both);
      codes[4 + j] = high_nibbles(both);
    }
  } else {
    for (int j = 0; j < 8; ++j) codes[j] = load_bytes(p + 64 * j);
  }
}

template <CodeWidth width>
QJL_LANES_INLINE I32x16 add_dot(I32x16 sum, const Bytes64 (&codes)[8], const std::int8_t* x) {
  for (int j = 0; j < 8; ++j) {
    if constexpr (width == CodeWidth::bytes) {
      sum = dot_bytes(sum, codes[j], x + 4 * j);
    } else {
      sum = dot_small(sum, codes[j], x + 4 * j);
    }
  }
  return sum;
}

template <CodeWidth width>
QJL_LANES_INLINE I32x16 dot_block(const Bytes64 (&codes)[8], const std::int8_t* high, const std::int8_t* low) {
  return add_dot<width>(times_128(add_dot<width>(no_sum(), codes, high)), codes, low);
}

// N tokens (a power of two; the last may be padding) and one group of rows.
template <CodeWidth width, bool has_offsets, int N>
inline void packed_group(const PackedMatvecArgs& a, std::int64_t group) {
  const PackedWeight& w = *a.weight;
  const std::byte *codes = w.codes(group), *scales = w.scales(group), *offsets = w.offsets(group);
  const std::int64_t step = w.code_bytes(), num_blocks = w.blocks();
  const F32x16 centre = broadcast(width == CodeWidth::bytes ? kSigned - w.centre() : -w.centre());
  F32x16 sum[N];
  for (int n = 0; n < N; ++n) sum[n] = broadcast(0.0f);
  // The next group follows this one in memory; asked for now, it is there when its turn comes, page borders or not.
  const std::byte* ahead = w.codes(group + 1);
  const std::int64_t ahead_step = w.group_bytes() / num_blocks;
  for (std::int64_t b = 0; b < num_blocks; ++b, ahead += ahead_step) {
    for (std::int64_t i = 0; i < ahead_step; i += 64) __builtin_prefetch(ahead + i, 0, 2);
    Bytes64 block[8];
    load_codes<width>(codes + b * step, block);
    const F32x16 scale = load_f16(scales + b * PackedWeight::kScaleBytes);
    const F32x16 offset = has_offsets ? load_f16(offsets + b * PackedWeight::kScaleBytes) : mul(scale, centre);
    const QuantizedBlock& x = a.x[b];
    for (int n = 0; n < N; ++n) {
      const F32x16 dot = to_float(dot_block<width>(block, x.high_low[n][0], x.high_low[n][1]));
      sum[n] = fma(mul(scale, broadcast(x.scale[n])), dot, fma(offset, broadcast(x.scaled_sum[n]), sum[n]));
    }
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
    case CodeWidth::small_bytes:
      return has_offsets ? packed_tokens<CodeWidth::small_bytes, true>(a) : packed_tokens<CodeWidth::small_bytes, false>(a);
  }
}

// 32 columns of one row: integers in two bytes each; returns the sum.
inline std::int32_t split(const float* in, float to_integer, std::int8_t* high, std::int8_t* low) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the last bits
  std::int32_t sum = 0;
  for (int i = 0; i < kBlockColumns; ++i) {
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
    return;
  }
  const std::int32_t sum = split(in, kLargest / magnitude, high, low);
  block.scale[t] = magnitude / kLargest;
  block.scaled_sum[t] = block.scale[t] * static_cast<float>(sum);
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
