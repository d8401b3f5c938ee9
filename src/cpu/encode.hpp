// Codes of 16 vectors at once, a token a lane; keys and values share it. Arrays are [coordinate][16].
//
//   s1        c = sign(P x)
//   s2        b_f = sign(P_f x); 6 times: s = |r|^2 / <x, r>, b_1 = sign(s P_1 x - C b_2), b_2 = sign(s P_2 x - C^T b_1)
//             r = P_1^T b_1 + P_2^T b_2, C = P_1 P_2^T (H E H / d with E = D1_1 D1_2: whole numbers over d)
//   l4..l16   nearest level of g y, y = P x at norm sqrt(d), for each candidate g; the largest <y, level>^2 / |level|^2
//   scale     |x|^2 / <x, r>, 0 for x = 0
//
// Every lane does the same IEEE operations in the same order on every target, so the bytes are the same; sign(0) is plus.
// Header of a pass: see foreach_target.hpp. Needs simd.hpp, simd_permute.hpp, rotate_lanes.hpp.
namespace qjl::cpu::QJL_NAMESPACE {

// Where 16 vectors are coded. With two frames `cross` is C (dense only).
struct CodeJob {
  Code code;
  Frame frame[2];
  const float* cross;
};

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

// x <- x * 2^-e with 2^e <= max |x| < 2^(e+1), so that squares neither overflow nor vanish; returns 2^e.
inline f32x16 normalise(float* x, int d) {
  f32x16 largest = splat(0.0f);
  for (int c = 0; c < d; ++c) largest = max(largest, abs(load(x + c * 16)));
  const f32x16 bounded = max(min(largest, splat(0x1p126f)), splat(0x1p-126f));
  const u32x16 exponent = as_u32(bounded) & splat_u32(0x7f800000u);
  const f32x16 inverse = as_f32(splat_u32(254u << 23) - exponent);
  for (int c = 0; c < d; ++c) store(x + c * 16, load(x + c * 16) * inverse);
  return as_f32(exponent);
}

// ---- signs ----------------------------------------------------------------------------------------------------------------------
// Codes of y: 1 where y < 0. Returns <y, sign(y)>.
inline f32x16 take_signs(const float* y, std::uint32_t* codes, int d) {
  f32x16 sum = splat(0.0f);
  for (int c = 0; c < d; ++c) {
    const f32x16 v = load(y + c * 16);
    store_u32(codes + c * 16, select(v < splat(0.0f), splat_u32(1), splat_u32(0)));
    sum = sum + abs(v);
  }
  return sum;
}

QJL_INLINE f32x16 sign_of_code(const std::uint32_t* code) { return sign_of_bit(load_u32(code), 0); }

// <y, b> for b = signs of codes.
inline f32x16 dot_signs(const float* y, const std::uint32_t* codes, int d) {
  f32x16 sum = splat(0.0f);
  for (int c = 0; c < d; ++c) sum = sum + load(y + c * 16) * sign_of_code(codes + c * 16);
  return sum;
}

// out = C b or C^T b; `work` [d][16] for dense frames. E H b goes through whole numbers up to d^2, exact in fp32.
inline void cross_signs(const CodeJob& job, bool transposed, const std::uint32_t* codes, float* work, float* out) {
  const int d = job.frame[0].dim;
  float* signs = job.cross != nullptr ? work : out;
  for (int c = 0; c < d; ++c) store(signs + c * 16, sign_of_code(codes + c * 16));
  if (job.cross != nullptr) return multiply_lanes(job.cross, transposed, signs, out, d);
  hadamard_lanes(out, d);
  const float scale = 1.0f / static_cast<float>(d);
  for (int c = 0; c < d; ++c) {
    store(out + c * 16, load(out + c * 16) * splat(job.frame[0].sign_mid[c] * job.frame[1].sign_mid[c] * scale));
  }
  hadamard_lanes(out, d);
}

// b = sign(s y - t).
inline void decide_signs(const f32x16& s, const float* y, const float* t, std::uint32_t* codes, int d) {
  for (int c = 0; c < d; ++c) {
    const f32x16 v = s * load(y + c * 16) - load(t + c * 16);
    store_u32(codes + c * 16, select(v < splat(0.0f), splat_u32(1), splat_u32(0)));
  }
}

// x is used up. y [2][d][16], t [d][16], codes [2 d][16].
inline f32x16 encode_two_signs(const CodeJob& job, float* x, float* y, float* t, std::uint32_t* codes) {
  const int d = job.frame[0].dim;
  float *y1 = y, *y2 = y + d * 16;
  std::uint32_t *b1 = codes, *b2 = codes + d * 16;
  rotate_lanes(job.frame[0], x, y1);
  rotate_lanes(job.frame[1], x, y2);
  take_signs(y1, b1, d);
  take_signs(y2, b2, d);
  for (int round = 0; round < kAlternatingRounds; ++round) {
    cross_signs(job, false, b2, x, t);
    const f32x16 rr = splat(2.0f * static_cast<float>(d)) + splat(2.0f) * dot_signs(t, b1, d);
    const f32x16 s = safe_divide(rr, dot_signs(y1, b1, d) + dot_signs(y2, b2, d));
    decide_signs(s, y1, t, b1, d);
    cross_signs(job, true, b1, x, t);
    decide_signs(s, y2, t, b2, d);
  }
  return closing_scale(squared_norm(y1, d), dot_signs(y1, b1, d) + dot_signs(y2, b2, d));
}

// ---- Lloyd-Max levels -----------------------------------------------------------------------------------------------------------
// Positive level nearest to z >= 0; `index` counts the thresholds below z.
template <int Count>
QJL_INLINE f32x16 nearest_level(const Codebook& book, f32x16 z) {
  f32x16 level = splat(book.level[0]);
  for (int i = 0; i + 1 < Count; ++i) level = select(z > splat(threshold(book, i)), splat(book.level[i + 1]), level);
  return level;
}
template <int Count>
QJL_INLINE u32x16 nearest_index(const Codebook& book, f32x16 z) {
  u32x16 index = splat_u32(0);
  for (int i = 0; i + 1 < Count; ++i)
    index = select(z > splat(threshold(book, i)), splat_u32(static_cast<std::uint32_t>(i) + 1), index);
  return index;
}

// The multiplier of |y| per lane whose levels have the largest cosine with y, and their <y, level>.
struct LevelChoice {
  f32x16 factor, dot;
};
template <int Count>
inline LevelChoice search_scale(const Codebook& book, const float* y, const f32x16& unit_factor, int d) {
  LevelChoice best{splat(0.0f), splat(0.0f)};
  f32x16 best_cosine = splat(-1.0f);
  for (int candidate = 0; candidate < kScaleCandidates; ++candidate) {
    const f32x16 factor = unit_factor * splat(scale_candidate(candidate));
    f32x16 dot = splat(0.0f), squares = splat(0.0f);
    for (int c = 0; c < d; ++c) {
      const f32x16 magnitude = abs(load(y + c * 16)), level = nearest_level<Count>(book, magnitude * factor);
      dot = dot + level * magnitude;
      squares = squares + level * level;
    }
    const f32x16 cosine = dot * dot / squares;  // squared, times |y|^2
    const i32x16 better = cosine > best_cosine;
    best = {select(better, factor, best.factor), select(better, dot, best.dot)};
    best_cosine = select(better, cosine, best_cosine);
  }
  return best;
}

template <int Count>
inline f32x16 encode_levels(const CodeJob& job, const float* x, float* y, std::uint32_t* codes) {
  const Codebook& book = codebook(job.code);
  const int d = job.frame[0].dim;
  rotate_lanes(job.frame[0], x, y);
  const f32x16 squared = squared_norm(y, d);
  const f32x16 unit_factor = safe_divide(splat(std::sqrt(static_cast<float>(d)) / book.unit), sqrt(squared));
  const LevelChoice best = search_scale<Count>(book, y, unit_factor, d);
  for (int c = 0; c < d; ++c) {
    const f32x16 v = load(y + c * 16);
    const u32x16 index = nearest_index<Count>(book, abs(v) * best.factor);
    const u32x16 above = index + splat_u32(Count), below = splat_u32(Count - 1) - index;
    store_u32(codes + c * 16, select(v < splat(0.0f), below, above));
  }
  return closing_scale(squared, best.dot);
}

// ---- any rotated code -----------------------------------------------------------------------------------------------------------
// Codes the 16 vectors in scratch.x (used up) into scratch.codes [parts d][16]; stores their scales to scales [16].
// Lanes below `live` by bit are left out: scale 0, codes 0.
inline void encode_lanes(const CodeJob& job, const i32x16& live, const EncodeScratch& scratch, float* scales) {
  const int d = job.frame[0].dim, count = d * layout::frames_per_token(job.code);
  const f32x16 magnitude = normalise(scratch.x, d);
  f32x16 scale;
  switch (job.code) {
    case Code::l4: scale = encode_levels<2>(job, scratch.x, scratch.rotated, scratch.codes); break;
    case Code::l8: scale = encode_levels<4>(job, scratch.x, scratch.rotated, scratch.codes); break;
    case Code::l16: scale = encode_levels<8>(job, scratch.x, scratch.rotated, scratch.codes); break;
    case Code::s2: scale = encode_two_signs(job, scratch.x, scratch.rotated, scratch.cross, scratch.codes); break;
    default: {
      rotate_lanes(job.frame[0], scratch.x, scratch.rotated);
      const f32x16 dot = take_signs(scratch.rotated, scratch.codes, d);
      scale = closing_scale(squared_norm(scratch.rotated, d), dot);
    }
  }
  store(scales, select(live, scale * magnitude, splat(0.0f)));
  for (int c = 0; c < count; ++c) {
    store_u32(scratch.codes + c * 16, load_u32(scratch.codes + c * 16) & as_u32(live));
  }
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

// 8-bit codes of the page's scales [128]; returns their maximum.
inline float encode_scales(const float* scales, std::uint8_t* codes) {
  float largest = 0.0f;
  for (int slot = 0; slot < layout::kPageTokens; ++slot) largest = std::max(largest, scales[slot]);
  for (int slot = 0; slot < layout::kPageTokens; ++slot) codes[slot] = scale_code(scales[slot], largest);
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
