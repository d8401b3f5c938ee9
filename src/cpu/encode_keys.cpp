// Codes the keys of whole pages.
//
//   mean    = of the page's keys before RoPE, int8 (encode_mean.hpp)
//   x_t     = k_t - what the mean predicts   coded in the keys' frames (encode.hpp), 16 tokens of one value frame at a time
//   bytes   = codes packed as page.hpp says, 8-bit scales below the page's largest
//
// Exact keys are copied, the paper's are sketched (paper_encode.hpp). Source: docs/format.md, docs/numerics.md.
#define QJL_THIS_FILE "encode_keys.cpp"
#ifndef QJL_PASS
#include "foreach_target.hpp"
#else

// clang-format off: each header of a pass needs those above it
#include "simd.hpp"
#include "simd_permute.hpp"
#include "rotate_lanes.hpp"
#include "encode.hpp"
#include "encode_mean.hpp"
#include "paper_encode.hpp"
// clang-format on

namespace qjl::cpu::QJL_NAMESPACE {

QJL_INLINE void merge_u32(std::uint8_t* p, u32x16 bits) { store_u32(p, load_u32(p) | bits); }

// One byte of every row for the tokens of frame f: `width` bits a coordinate, 8 / width coordinates a row.
inline void pack_key_rows(const std::uint32_t* codes, int coordinates, int width, int frame, std::uint8_t* keys) {
  const int rows = coordinates * width / 8, per_row = 8 / width, half = frame / 4, shift = 8 * (frame % 4);
  for (int row = 0; row < rows; ++row) {
    u32x16 bits = splat_u32(0);
    for (int i = 0; i < per_row; ++i) bits = bits | load_u32(codes + (row * per_row + i) * 16) << width * i;
    merge_u32(keys + layout::key_row_offset(rows, half, row), bits << shift);
  }
}

QJL_INLINE u32x16 pair_of_codes(const std::uint32_t* codes) { return load_u32(codes) | load_u32(codes + 16) << 3; }

// l8: four 6-bit groups of two coordinates in three rows; the fourth group lies in the top two bits of the rows.
inline void pack_key_triples(const std::uint32_t* codes, int d, int frame, std::uint8_t* keys) {
  const int rows = layout::key_row_bytes(Code::l8, d), half = frame / 4, shift = 8 * (frame % 4);
  for (int triple = 0; triple < d / 8; ++triple) {
    const std::uint32_t* group = codes + 8 * triple * 16;
    const u32x16 fourth = pair_of_codes(group + 6 * 16);
    for (int r = 0; r < 3; ++r) {
      const u32x16 top = (fourth >> 2 * r & splat_u32(3)) << 6;
      merge_u32(keys + layout::key_row_offset(rows, half, 3 * triple + r), (pair_of_codes(group + 2 * r * 16) | top) << shift);
    }
  }
}

inline void pack_key_words(const std::uint32_t* codes, int d, int frame, std::uint8_t* keys) {
  for (int word = 0; word < d / 8; ++word) {
    u32x16 bits = splat_u32(0);
    for (int i = 0; i < 4; ++i) {
      const u32x16 low = load_u32(codes + (8 * word + i) * 16), high = load_u32(codes + (8 * word + 4 + i) * 16);
      bits = bits | (low | high << 4) << 8 * i;
    }
    store_u32(keys + layout::key_word_offset(d, frame / 4, word, frame % 4), bits);
  }
}

inline void pack_keys(Code code, const std::uint32_t* codes, int d, int frame, std::uint8_t* keys) {
  switch (code) {
    case Code::s1: return pack_key_rows(codes, d, 1, frame, keys);
    case Code::s2: return pack_key_rows(codes, 2 * d, 1, frame, keys);
    case Code::l4: return pack_key_rows(codes, d, 2, frame, keys);
    case Code::l8: return pack_key_triples(codes, d, frame, keys);
    default: return pack_key_words(codes, d, frame, keys);
  }
}

inline void encode_rotated_keys(const EncodeArgs& args, std::int64_t i, const layout::BodyLayout& at,
                                const EncodeScratch& scratch) {
  const CodecTables& tables = *args.tables;
  const int d = tables.shape.head_dim, num_sinks = args.num_sinks[i];
  std::uint8_t* body = args.bodies[i];
  const CodeJob job{tables.shape.key_code,
                    {key_frame(tables, 0), key_frame(tables, layout::frames_per_token(tables.shape.key_code) - 1)},
                    tables.key_cross};
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    load_frame(args.rows[i], args.token_stride, args.row_dtype, frame, d, scratch.page + frame * d * 16);
  }
  args.heads[i]->mean_scale = encode_mean(tables, num_sinks, scratch, reinterpret_cast<std::int8_t*>(body + at.mean));
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    take_residual(scratch, frame, d);
    encode_lanes(job, live_lanes(frame, num_sinks), scratch, scratch.scales + layout::kFrameSlots * frame);
    pack_keys(job.code, scratch.codes, d, frame, body + at.keys);
  }
  args.heads[i]->key_scale_max = encode_scales(scratch.scales, body + at.key_scales);
}

void encode_keys(const EncodeArgs& args) {
  const layout::PageShape& shape = args.tables->shape;
  const layout::BodyLayout at = layout::body_layout(shape);
  const EncodeScratch scratch(*args.tables, args.workspace);
  for (std::int64_t i = 0; i < args.count; ++i) {
    std::uint8_t* body = args.bodies[i];
    layout::PageHead& head = *args.heads[i];
    head.format_version = layout::kFormatVersion;
    head.key_code = static_cast<std::uint8_t>(shape.key_code);
    head.num_sinks = args.num_sinks[i];
    head.mean_scale = head.key_scale_max = 0.0f;
    if (layout::is_rotated(shape.key_code)) {
      std::memset(body + at.mean, 0, static_cast<std::size_t>(at.key_scales - at.mean));
      std::memset(body + at.keys, 0, static_cast<std::size_t>(at.outlier_keys - at.keys));
      encode_rotated_keys(args, i, at, scratch);
    } else if (shape.key_code == Code::jl) {
      encode_sketch(args, i, at, scratch);
    } else {
      copy_rows(args.rows[i], args.token_stride, args.num_sinks[i], shape.head_dim, body + at.keys);
    }
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE

#endif
