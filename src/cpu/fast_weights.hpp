// The running softmax of one row over a pass of up to four pages, and its weights as bytes.
//
//   e = exp(s - m), sum += e;  w = e * value scale;  byte = floor(255 w / max w of the frame + offset), scale = sum w / sum byte
//   offset = dither for the smallest weights, 1/2 for the others
//
// One plane of 8 bits is enough: a weight's rounding is at most 1/255 of its frame's largest, whose own token carries an error of
// 9 % (l16) to 36 % (l4). What would be lost is the mass of many small weights beside a large one: the dither, fixed numbers that
// fill [0, 1) evenly, keeps the expectation of a byte at its weight (and doubles its variance: larger weights do without), and the
// scale makes the bytes of a frame sum to its weights.
// Header of a pass: see foreach_target.hpp. Needs simd.hpp, simd_permute.hpp, fetch.hpp, exp.hpp, softmax_block.hpp, and
// weight_reach() and store_weights() of the target.
namespace qjl::cpu::QJL_NAMESPACE {

// 2^x, x <= 0: 2^floor(x) times a polynomial of degree 5 in the fraction; relative error below 2e-7, exactly 1 at 0.
QJL_INLINE f32x16 exp2_below(f32x16 x) {
#if QJL_LANES == 16
  const f32x16 f = _mm512_reduce_ps(x, 1);  // x - floor(x)
#else
  x = max(x, splat(-126.0f));
  const f32x16 whole = round_even(x - splat(0.5f)), f = x - whole;
#endif
  f32x16 p = splat(1.8671305e-3f);
  p = fused_multiply_add(p, f, splat(9.0170289e-3f));
  p = fused_multiply_add(p, f, splat(5.5799913e-2f));
  p = fused_multiply_add(p, f, splat(2.4016444e-1f));
  p = fused_multiply_add(p, f, splat(6.9315130e-1f));
  p = fused_multiply_add(p, f, splat(1.0f));
#if QJL_LANES == 16
  return _mm512_scalef_ps(p, x);
#else
  return as_f32(as_u32(p) + (as_u32(to_i32(whole)) << 23));
#endif
}

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
  int first_page;             // modulo kPassPages
  float* scores;              // become weights
  const float* value_scales;  // [count * 128]
  std::uint8_t* weights;      // [8 frames][4 quads][kPassPages][4]
  float* weight_scales;       // [8 frames]
};

// Scores of kPages pages become weights e * value scale: their sum and their largest by frame and lane.
template <int kPages>
inline void make_weights(const Accumulators& state, int row, const PassRow& pass, f32x16* mass, f32x16* top, Fetcher& fetcher) {
  const f32x16 below = splat(-state.reference[row] * kLog2E), log2e = splat(kLog2E);
  f32x16 sum = load(state.sums + row * 16);
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    f32x16 largest = splat(1e-36f), weights = splat(0.0f);
    fetcher.next<5>();
    QJL_UNROLL
    for (int page = 0; page < kPages; ++page) {
      const int slot = page * layout::kPageTokens + frame * layout::kFrameSlots;
      const f32x16 e = exp2_below(fused_multiply_add(load(pass.scores + slot), log2e, below));
      const f32x16 weight = e * load(pass.value_scales + slot);
      store(pass.scores + slot, weight);
      sum = sum + e;
      weights = weights + weight;
      largest = max(largest, weight);
    }
    mass[frame] = weights;
    top[frame] = top[layout::kFrames + frame] = weight_reach(largest);
  }
  store(state.sums + row * 16, sum);
}

// Weights become bytes: their sum by frame and lane.
template <int kPages>
inline void make_bytes(const PassRow& pass, const float* per_step, f32x16* mass) {
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    i32x16 byte[kPassPages], bytes = splat_i32(0);
    QJL_UNROLL
    for (int page = 0; page < kPassPages; ++page) {
      byte[page] = splat_i32(0);
      if (page >= kPages) continue;
      const f32x16 weight = load(pass.scores + page * layout::kPageTokens + frame * layout::kFrameSlots);
      const f32x16 steps = weight * splat(per_step[frame]);
      const f32x16 offset = load(kDither.of + (pass.first_page + page) % kPassPages * layout::kFrameSlots);
      byte[page] = to_i32(steps + select(steps < splat(kDithered), offset, splat(0.5f)));
      bytes = bytes + byte[page];
    }
    store_weights(byte, pass.weights + frame * layout::kLineBytes);
    mass[frame] = to_f32(bytes);
  }
}

// Frames go side by side, so that no frame waits for its own largest weight.
template <int kPages>
inline bool weigh_pages(const Accumulators& state, int row, const PassRow& pass, Fetcher& fetcher) {
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  f32x16 largest[2] = {splat(kNothing), splat(kNothing)};
  for (int slot = 0; slot < kPages * layout::kPageTokens; slot += 32) {
    largest[0] = max(largest[0], load(pass.scores + slot));
    largest[1] = max(largest[1], load(pass.scores + slot + 16));
  }
  const float block_max = reduce_max(max(largest[0], largest[1]));
  if (block_max == kNothing) return false;
  if (block_max > state.reference[row]) move_reference(state, row, block_max);
  f32x16 mass[2 * layout::kFrames], top[2 * layout::kFrames];  // mass of the weights of each frame, then of their bytes
  make_weights<kPages>(state, row, pass, mass, top, fetcher);
  alignas(64) float of_frame[2 * layout::kFrames];
  store(of_frame, splat(static_cast<float>(kWeightLevels)) / max_of_lanes(top));
  make_bytes<kPages>(pass, of_frame, mass + layout::kFrames);
  store(of_frame, sum_of_lanes(mass));
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    pass.weight_scales[frame] = of_frame[frame] / std::max(of_frame[layout::kFrames + frame], 1.0f);
  }
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
