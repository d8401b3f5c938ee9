// Weighted sums of the values of up to four pages by bytes where a look-up takes 16 entries: AVX-512 without VBMI, AVX2 and NEON.
// The seam is that of fast_values_avx512vbmi.hpp: frames[row][f][channel] += scale[row][f] * sum_t w[t] * level[t].
//
// Levels of l4 and l8 are small whole numbers times a unit, so that products are added in 16 bits: l4 (3 10) 12, exactly; l8
// (5 16 28 45) 2.8195, which is off by .01 % of the code's own error. Those of l16 are what they are and go to 32 bits at once.
// Cost a token and row: 16 d / (register bytes * 4) products, twice that for l16; decoding is shared.
// Header of a pass: see foreach_target.hpp. Needs byte_vectors.hpp, fast_query.hpp, fetch.hpp.
namespace qjl::cpu::QJL_NAMESPACE {

// Levels by the low nibble of a byte of codes: of its first number (shift 0) or its second.
template <Code kCode, int kShift>
struct NibbleLevels {
  static constexpr float kUnit = kCode == Code::l4 ? 12.0f : kCode == Code::l8 ? 2.8195f : 1.0f;
  struct Table {
    alignas(16) std::uint8_t of[16];
  };
  static constexpr Table table() {
    Table t{};
    for (int i = 0; i < 16; ++i) {
      const int code = (i >> kShift) & ((1 << layout::code_bits(kCode)) - 1);
      t.of[i] = static_cast<std::uint8_t>(nearest(level_of(kCode, code) / kUnit));
    }
    return t;
  }
  static constexpr Table kTable = table();
};

// One vector of the lines of a block of 16 channels, as levels: byte i of level[q] is token 4 q + i.
template <Code kCode>
QJL_INLINE void quad_levels(const std::uint8_t* lines, int block, NativeB (&level)[4]) {
  const NativeB first = load_table(NibbleLevels<kCode, 0>::kTable.of);
  if constexpr (kCode == Code::l4) {
    const NativeB second = load_table(NibbleLevels<kCode, 2>::kTable.of);
    const NativeB codes = load_bytes(lines + block * layout::kLineBytes);
    const NativeB low = low_bits(codes, 15), high = low_bits(shift_right(codes, 4), 15);
    level[0] = look_up(first, low);
    level[1] = look_up(second, low);
    level[2] = look_up(first, high);
    level[3] = look_up(second, high);
  } else {
    NativeB group[2];
    if constexpr (kCode == Code::l8) {  // a pair of blocks has three lines
      const std::uint8_t* pair = lines + block / 2 * 3 * layout::kLineBytes;
      const NativeB a = load_bytes(pair), b = load_bytes(pair + layout::kLineBytes);
      const NativeB c = load_bytes(pair + 2 * layout::kLineBytes);
      group[0] = block % 2 == 0 ? a : c;
      group[1] = block % 2 == 0 ? b : top_bits(a, b, c);
    } else {
      group[0] = load_bytes(lines + 2 * block * layout::kLineBytes);
      group[1] = load_bytes(lines + (2 * block + 1) * layout::kLineBytes);
    }
    QJL_UNROLL
    for (int i = 0; i < 2; ++i) {
      level[2 * i] = look_up(first, low_bits(group[i], 15));
      level[2 * i + 1] = look_up(first, low_bits(shift_right(group[i], layout::code_bits(kCode)), 15));
    }
  }
}

// Weights of one frame for all rows as the products want them: rows, quads and pages so many bytes apart.
template <Code kCode>
inline constexpr int kWeightBytes = kCode == Code::l16 ? kSpread : 1;

// One vector of a block of one page into the sums of the rows.
template <Code kCode, int kRows>
QJL_INLINE void weigh_vector(const NativeB (&level)[4], const std::uint8_t* weights, NativeI (&sum)[kRows]) {
  constexpr int kRowBytes = kWeightBytes<kCode> * layout::kLineBytes, kQuadBytes = kWeightBytes<kCode> * 4 * kPassPages;
  if constexpr (kCode != Code::l16) {
    constexpr int kQuads = kCode == Code::l4 ? 4 : 1;
    QJL_UNROLL
    for (int row = 0; row < kRows; ++row) {
      sum[row] = add_weighed_small<kQuads>(sum[row], level, weights + row * kRowBytes, kQuadBytes);
    }
  } else {
    QJL_UNROLL
    for (int q = 0; q < 4; ++q) {
      const FourBytes four(level[q]);
      QJL_UNROLL
      for (int row = 0; row < kRows; ++row) {
        sum[row] = add_weighed(sum[row], four, weights + row * kRowBytes + q * kQuadBytes);
      }
    }
  }
}

template <Code kCode, int kRows>
inline void weigh_group(const layout::PageShape& shape, const WeighedPages& pages, Fetcher& fetcher) {
  const int d = shape.head_dim, lines = layout::value_lines_per_frame(kCode, d);
  alignas(layout::kLineBytes) std::uint8_t weights[kRows * kWeightBytes<kCode> * layout::kLineBytes];
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    const std::int64_t at = std::int64_t{frame} * lines * layout::kLineBytes;
    for (int row = 0; row < kRows; ++row) {
      const std::uint8_t* from = pages.weights + row * kPassTokens + frame * layout::kLineBytes;
      std::uint8_t* to = weights + row * kWeightBytes<kCode> * layout::kLineBytes;
      kWeightBytes<kCode> == 1 ? void(std::memcpy(to, from, layout::kLineBytes)) : spread_weights(from, to);
    }
    // A vector at a time: the sums of all rows and one vector of levels fit the registers.
    for (int part = 0; part < d / QJL_LANES; ++part) {
      const int block = part / kLineVectors, vector = part % kLineVectors;
      NativeI sum[kRows] = {};
      for (int page = 0; page < pages.count; ++page) {
        NativeB level[4];
        fetcher.next<QJL_LANES == 16 && kCode != Code::l4 ? 2 : 1>();
        quad_levels<kCode>(pages.values[page] + at + vector * kVectorBytes, block, level);
        weigh_vector<kCode>(level, weights + 4 * kWeightBytes<kCode> * page, sum);
      }
      QJL_UNROLL
      for (int row = 0; row < kRows; ++row) {
        NativeF scale, old;
        fill(pages.weight_scales[row * layout::kFrames + frame] * NibbleLevels<kCode, 0>::kUnit, scale);
        float* out = pages.frames + (std::int64_t{row} * layout::kFrames + frame) * d + part * QJL_LANES;
        read(out, old);
        write(out, fused_multiply_add(to_f32(sum[row]), scale, old));
      }
    }
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
