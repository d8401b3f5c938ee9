// Matrix-vector products on stored weights, for one target: included inside its namespace after its lanes.
//
// A format decodes 32 numbers to two registers; a tile of kTileRows rows times N tokens shares the loads of x, and every decoded
// register serves N products. Formats without a fast decoder go through dequantize() in stretches of 256 numbers.
struct Pair {
  F32x16 low, high;
};

struct FormatF32 {
  static constexpr int kBytes = 128;
  QJL_LANES_INLINE static Pair decode(const std::byte* block) {
    const auto* numbers = reinterpret_cast<const float*>(block);
    return {load(numbers), load(numbers + 16)};
  }
};
struct FormatF16 {
  static constexpr int kBytes = 64;
  QJL_LANES_INLINE static Pair decode(const std::byte* block) { return {load_f16(block), load_f16(block + 32)}; }
};
struct FormatBf16 {
  static constexpr int kBytes = 64;
  QJL_LANES_INLINE static Pair decode(const std::byte* block) { return {load_bf16(block), load_bf16(block + 32)}; }
};
struct FormatQ8_0 {
  static constexpr int kBytes = 34;
  QJL_LANES_INLINE static Pair decode(const std::byte* block) {
    const F32x16 scale = broadcast_f16(block);
    return {mul(scale, load_i8(block + 2)), mul(scale, load_i8(block + 18))};
  }
};
struct FormatQ4_0 {
  static constexpr int kBytes = 18;
  QJL_LANES_INLINE static Pair decode(const std::byte* block) {
    const F32x16 scale = broadcast_f16(block), centre = broadcast(-8.0f);
    const NibblePair level = load_nibbles(block + 2);
    return {mul(scale, add(level.low, centre)), mul(scale, add(level.high, centre))};
  }
};
struct FormatQ4_1 {
  static constexpr int kBytes = 20;
  QJL_LANES_INLINE static Pair decode(const std::byte* block) {
    const F32x16 scale = broadcast_f16(block), offset = broadcast_f16(block + 2);
    const NibblePair level = load_nibbles(block + 4);
    return {fma(scale, level.low, offset), fma(scale, level.high, offset)};
  }
};

// R rows from `row` on, N tokens: out[n][row + r].
template <typename Format, int N, int R>
inline void matvec_tile(const MatvecArgs& a, std::int64_t row) {
  Pair sums[R][N];
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < N; ++n) sums[r][n] = {broadcast(0.0f), broadcast(0.0f)};
  }
  const std::byte* rows[R];
  for (int r = 0; r < R; ++r) rows[r] = a.weight->row(row + r);
  const std::int64_t num_blocks = a.weight->columns / 32;
  for (std::int64_t b = 0; b < num_blocks; ++b) {
    for (int r = 0; r < R; ++r) {
      const Pair w = Format::decode(rows[r] + b * Format::kBytes);
      for (int n = 0; n < N; ++n) {
        const float* x = a.x.data + n * a.x.stride + 32 * b;
        sums[r][n] = {fma(w.low, load(x), sums[r][n].low), fma(w.high, load(x + 16), sums[r][n].high)};
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < N; ++n) a.out[n * a.out_stride + row + r] = sum(add(sums[r][n].low, sums[r][n].high));
  }
}

template <typename Format, int N>
void matvec_format(const MatvecArgs& a) {
  constexpr int kTileRows = N == 1 ? 4 : 2;  // as many sums as registers allow
  std::int64_t row = a.row_begin;
  for (; row + kTileRows <= a.row_end; row += kTileRows) matvec_tile<Format, N, kTileRows>(a, row);
  for (; row < a.row_end; ++row) matvec_tile<Format, N, 1>(a, row);
}

inline float dot(const float* a, const float* b, std::int64_t n) {
  F32x16 sums = broadcast(0.0f);
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) sums = fma(load(a + i), load(b + i), sums);
  float rest = 0.0f;
  for (; i < n; ++i) rest += a[i] * b[i];
  return sum(sums) + rest;
}

inline void matvec_any(const MatvecArgs& a) {
  constexpr std::int64_t kStretch = 256;
  float w[kStretch];
  const int numbers = block_numbers(a.weight->type), bytes = block_bytes(a.weight->type);
  for (std::int64_t row = a.row_begin; row < a.row_end; ++row) {
    for (std::int64_t n = 0; n < a.x.tokens; ++n) a.out[n * a.out_stride + row] = 0.0f;
    for (std::int64_t c = 0; c < a.weight->columns; c += kStretch) {
      const std::int64_t count = std::min(kStretch, a.weight->columns - c);
      dequantize(a.weight->type, a.weight->row(row) + c / numbers * bytes, count, w);
      for (std::int64_t n = 0; n < a.x.tokens; ++n) a.out[n * a.out_stride + row] += dot(w, a.x.data + n * a.x.stride + c, count);
    }
  }
}

template <typename Format>
void matvec_tokens(const MatvecArgs& a) {
  switch (a.x.tokens) {
    case 1: return matvec_format<Format, 1>(a);
    case 2: return matvec_format<Format, 2>(a);
    case 3: return matvec_format<Format, 3>(a);
    default: return matvec_format<Format, 4>(a);
  }
}

inline void matvec(const MatvecArgs& a) {
  if (a.weight->columns % 32 != 0) return matvec_any(a);
  switch (a.weight->type) {
    case WeightType::f32: return matvec_tokens<FormatF32>(a);
    case WeightType::f16: return matvec_tokens<FormatF16>(a);
    case WeightType::bf16: return matvec_tokens<FormatBf16>(a);
    case WeightType::q8_0: return matvec_tokens<FormatQ8_0>(a);
    case WeightType::q4_0: return matvec_tokens<FormatQ4_0>(a);
    case WeightType::q4_1: return matvec_tokens<FormatQ4_1>(a);
    case WeightType::q5_0:
    case WeightType::q5_1:
    case WeightType::q4_k:
    case WeightType::q5_k:
    case WeightType::q6_k: return matvec_any(a);
  }
}
