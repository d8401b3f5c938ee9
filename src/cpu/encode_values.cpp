// Codes the values of whole pages: no mean, closing scale, and the frame of token t is t mod 8, so the 16 tokens of a slot block
// share one frame.
//
//   x_t   = v_t, coded in the frames 8-cycle (encode.hpp)
//   bytes = per frame, per 16 channels: 32-bit words of 4 tokens a byte, packed as page.hpp says; 8-bit scales as for keys
//
// Exact values are copied, the paper's are min-max coded (paper_encode.hpp).
#define QJL_THIS_FILE "encode_values.cpp"
#ifndef QJL_PASS
#include "foreach_target.hpp"
#else

// clang-format off: each header of a pass needs those above it
#include "simd.hpp"
#include "simd_permute.hpp"
#include "rotate_lanes.hpp"
#include "encode.hpp"
#include "paper_encode.hpp"
// clang-format on

namespace qjl::cpu::QJL_NAMESPACE {

QJL_INLINE void merge_u32(std::uint8_t* p, u32x16 bits) { store_u32(p, load_u32(p) | bits); }

// Byte i of each word: the code of token 4 q + i. token[j] holds the codes of token j, a channel a lane.
QJL_INLINE u32x16 quad(const u32x16 (&token)[16], int q) {
  return token[4 * q] | token[4 * q + 1] << 8 | token[4 * q + 2] << 16 | token[4 * q + 3] << 24;
}

// Two blocks share three lines: groups 0 and 1 are the first block's, 2 and 3 the second's; group 3 lies in the top bits.
QJL_INLINE void pack_pair_of_blocks(const u32x16 (&token)[16], bool second, std::uint8_t* lines) {
  const u32x16 low = quad(token, 0) | quad(token, 1) << 3, high = quad(token, 2) | quad(token, 3) << 3;
  if (!second) {
    merge_u32(lines, low);
    merge_u32(lines + layout::kLineBytes, high);
    return;
  }
  merge_u32(lines + 2 * layout::kLineBytes, low);
  for (int line = 0; line < 3; ++line) {
    merge_u32(lines + line * layout::kLineBytes, (high >> 2 * line & splat_u32(0x03030303u)) << 6);
  }
}

QJL_INLINE void pack_nibbles(const u32x16 (&token)[16], std::uint8_t* lines) {
  store_u32(lines, quad(token, 0) | quad(token, 1) << 4);
  store_u32(lines + layout::kLineBytes, quad(token, 2) | quad(token, 3) << 4);
}

// codes [parts d][16 tokens] of one frame -> its lines, which are zero before.
inline void pack_values(Code code, const std::uint32_t* codes, int channels, std::uint8_t* lines) {
  const int blocks = channels / 16, bits = layout::code_bits(code) / layout::frames_per_token(code);
  for (int block = 0; block < blocks; ++block) {
    f32x16 lane[16];
    u32x16 token[16];
    for (int c = 0; c < 16; ++c) lane[c] = as_f32(load_u32(codes + (16 * block + c) * 16));
    transpose16(lane);
    for (int j = 0; j < 16; ++j) token[j] = as_u32(lane[j]);
    const bool second = block % 2 == 1, alone = block + 1 == blocks && !second;
    if (bits == 1) {
      const u32x16 word = quad(token, 0) | quad(token, 1) << 1 | quad(token, 2) << 2 | quad(token, 3) << 3;
      merge_u32(lines + block / 2 * layout::kLineBytes, second ? word << 4 : word);
    } else if (bits == 2) {
      store_u32(lines + block * layout::kLineBytes,
                quad(token, 0) | quad(token, 1) << 2 | quad(token, 2) << 4 | quad(token, 3) << 6);
    } else if (bits == 3 && !alone) {
      pack_pair_of_blocks(token, second, lines + block / 2 * 3 * layout::kLineBytes);
    } else {
      pack_nibbles(token, lines + (bits == 3 ? block / 2 * 3 : 2 * block) * layout::kLineBytes);
    }
  }
}

inline void encode_rotated_values(const EncodeArgs& args, std::int64_t i, const layout::BodyLayout& at,
                                  const EncodeScratch& scratch) {
  const CodecTables& tables = *args.tables;
  const Code code = tables.shape.value_code;
  const int d = tables.shape.head_dim, parts = layout::frames_per_token(code);
  const std::int64_t frame_bytes = std::int64_t{layout::value_lines_per_frame(code, d)} * layout::kLineBytes;
  std::uint8_t* body = args.bodies[i];
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    const float* cross = tables.value_cross == nullptr ? nullptr : tables.value_cross + std::int64_t{frame} * d * d;
    const CodeJob job{code, {value_frame(tables, frame * parts), value_frame(tables, frame * parts + parts - 1)}, cross};
    load_frame(args.rows[i], args.token_stride, args.row_dtype, frame, d, scratch.x);
    encode_lanes(job, live_lanes(frame, args.num_sinks[i]), scratch, scratch.scales + layout::kFrameSlots * frame);
    pack_values(code, scratch.codes, parts * d, body + at.values + frame * frame_bytes);
  }
  args.heads[i]->value_scale_max = encode_scales(scratch.scales, body + at.value_scales);
}

void encode_values(const EncodeArgs& args) {
  const layout::PageShape& shape = args.tables->shape;
  const layout::BodyLayout at = layout::body_layout(shape);
  const EncodeScratch scratch(*args.tables, args.workspace);
  for (std::int64_t i = 0; i < args.count; ++i) {
    std::uint8_t* body = args.bodies[i];
    args.heads[i]->value_code = static_cast<std::uint8_t>(shape.value_code);
    args.heads[i]->value_scale_max = 0.0f;
    std::memset(body + at.values, 0, static_cast<std::size_t>(at.bytes - at.values));
    if (layout::is_rotated(shape.value_code)) {
      encode_rotated_values(args, i, at, scratch);
    } else if (shape.value_code == Code::minmax) {
      encode_minmax(args, i, at);
    } else {
      copy_rows(args.rows[i], args.token_stride, args.num_sinks[i], shape.head_dim, body + at.values);
    }
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE

#endif
