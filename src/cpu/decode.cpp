// Decodes one page to fp32 rows in token order.
//
//   k_t = prediction of the mean + scale[t] * sum_f P_f^T level[c_f]        v_t = scale[t] * sum_f P_f^T level[c_f]
//   jl: the vector whose product with q is the estimate, s |k_in| S^T bits and s_o |k_out| S_o^T bits_o in the outlier channels
#define QJL_THIS_FILE "decode.cpp"
#include "foreach_target.hpp"
#ifdef QJL_PASS

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "args.hpp"
#include "frame.hpp"
#include "half.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "permute.hpp"
#include "rotate/rows.hpp"
#include "scratch.hpp"
#include "tile/block.hpp"
#include "tile/key_tile.hpp"
#include "tile/mean_line.hpp"
#include "tile/scales.hpp"
#include "tile/value_tile.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

// out = offset + scale * sum_f P_f^T levels_f, levels [parts][d] used up; offset may be null.
inline void decode_row(const Frame* frames, int parts, float scale, const float* offset, float* levels, float* out) {
  const int d = frames[0].dim;
  float sum[layout::kMaxHeadDim] = {};
  unrotate_rows(frames, parts, levels, sum);
  for (int c = 0; c < d; ++c) out[c] = (offset != nullptr ? offset[c] : 0.0f) + scale * sum[c];
}

// Levels of the 16 keys of a frame: rows [16][coordinates].
inline void key_levels(const layout::PageShape& shape, const std::uint8_t* keys, int frame, float* tile, float* rows) {
  const int coordinates = layout::key_coordinates(shape);
  for (int first = 0; first < coordinates; first += kTileCoordinates) {
    const Stretch stretch{first, std::min(kTileCoordinates, coordinates - first)};
    key_tile(shape, keys, frame / 4, stretch, tile);
    for (int c = 0; c < stretch.count; c += 16) {
      f32x16 block[16];
      for (int k = 0; k < 16; ++k) block[k] = load(tile + (c + k) * kBlockTokens + 16 * (frame % 4));
      transpose16(block);
      for (int j = 0; j < 16; ++j) store(rows + j * coordinates + first + c, block[j]);
    }
  }
}

// Levels of the 16 values of a frame: rows [16][channels].
template <Code kCode>
inline void value_levels(const std::uint8_t* lines, int channels, float* rows) {
  for (int block = 0; block < channels / 16; ++block) {
    ValueTile tile;
    value_tile<kCode>(lines, block, channels / 16, tile);
    for (int j = 0; j < 16; ++j) store(rows + j * channels + 16 * block, tile[j]);
  }
}
inline void value_levels(Code code, const std::uint8_t* lines, int channels, float* rows) {
  with_value_frame_code(code, [&]<Code kCode>() { value_levels<kCode>(lines, channels, rows); });
}

inline void decode_sketched_key(const CodecTables& tables, const layout::BodyLayout& at, const std::uint8_t* body, int slot,
                                float* out) {
  const layout::PageShape& shape = tables.shape;
  const int d = shape.head_dim, count = shape.outlier_channels;
  std::uint16_t norm;
  std::memcpy(&norm, body + at.key_norms + 2 * slot, sizeof(norm));
  std::fill_n(out, d, 0.0f);
  const std::uint8_t* bits = body + at.keys + std::int64_t{slot} * (shape.sketch_rows / 8);
  for (int row = 0; row < shape.sketch_rows; ++row) {
    const float sign = (bits[row / 8] >> row % 8 & 1) != 0 ? -1.0f : 1.0f;
    add_row(sign * tables.sketch_scale * half_to_float(norm), tables.sketch + std::int64_t{row} * d, out, d);
  }
  if (count == 0) return;
  std::memcpy(&norm, body + at.outlier_norms + 2 * slot, sizeof(norm));
  bits = body + at.outlier_keys + std::int64_t{slot} * (shape.outlier_rows / 8);
  for (int n = 0; n < count; ++n) {
    float sum = 0.0f;
    for (int row = 0; row < shape.outlier_rows; ++row) {
      const float s = tables.outlier_sketch[std::int64_t{row} * count + n];
      sum += (bits[row / 8] >> row % 8 & 1) != 0 ? -s : s;
    }
    out[body[at.outlier_idx + n]] = sum * tables.outlier_sketch_scale * half_to_float(norm);
  }
}

inline void decode_exact(const std::uint8_t* rows, DType dtype, int d, float* out) {
  for (int slot = 0; slot < layout::kPageTokens; ++slot) {
    const auto* row = reinterpret_cast<const std::uint16_t*>(rows) + std::int64_t{slot} * d;
    for (int c = 0; c < d; c += 16) store(out + std::int64_t{layout::token_of_slot(slot)} * d + c, load_row(row + c, dtype));
  }
}

inline void decode_rotated_keys(const DecodeArgs& args, const layout::BodyLayout& at, const AttendScratch& scratch) {
  const CodecTables& tables = *args.tables;
  const layout::PageShape& shape = tables.shape;
  const int d = shape.head_dim, parts = shape.key.frames;
  const Frame frames[2] = {key_frame(tables, 0), key_frame(tables, parts - 1)};
  decode_scales(args.body + at.key_scales, args.head->key_scale_max, scratch.scales);
  decode_mean(tables, args.body + at.mean, args.head->mean_scale, scratch.mean);
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    key_levels(shape, args.body + at.keys, frame, scratch.tile, scratch.rows);
    for (int j = 0; j < 16; ++j) {
      const float scale = scratch.scales[layout::kFrameSlots * frame + j];
      const int token = layout::kFrames * j + frame;
      float predicted[layout::kMaxHeadDim];
      predict_key(tables, scratch.mean, token, predicted);
      decode_row(frames, parts, scale, predicted, scratch.rows + j * parts * d, args.keys + token * d);
    }
  }
}

inline void decode_keys(const DecodeArgs& args, const layout::BodyLayout& at, const AttendScratch& scratch) {
  const layout::PageShape& shape = args.tables->shape;
  const int d = shape.head_dim;
  switch (shape.key.book) {
    case Book::exact: return decode_exact(args.body + at.keys, shape.row_dtype, d, args.keys);
    case Book::signs:
    case Book::levels:
    case Book::fine:
    case Book::trellis: return decode_rotated_keys(args, at, scratch);
    case Book::sketch:
      for (int slot = 0; slot < layout::kPageTokens; ++slot) {
        decode_sketched_key(*args.tables, at, args.body, slot, args.keys + std::int64_t{layout::token_of_slot(slot)} * d);
      }
      return;
    case Book::minmax: return;  // values only
  }
}

inline void decode_minmax(const DecodeArgs& args, const layout::BodyLayout& at) {
  const layout::PageShape& shape = args.tables->shape;
  const int d = shape.head_dim;
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    for (int c = 0; c < d; c += 16) {
      ValueTile tile;
      minmax_values(shape, at, args.body, layout::kFrameSlots * frame, c, tile);
      for (int j = 0; j < 16; ++j) store(args.values + (layout::kFrames * j + frame) * d + c, tile[j]);
    }
  }
}

inline void decode_rotated_values(const DecodeArgs& args, const layout::BodyLayout& at, const AttendScratch& scratch) {
  const CodecTables& tables = *args.tables;
  const layout::PageShape& shape = tables.shape;
  const int d = shape.head_dim, parts = shape.value.frames;
  decode_scales(args.body + at.value_scales, args.head->value_scale_max, scratch.scales);
  const std::int64_t frame_bytes = std::int64_t{layout::value_lines_per_frame(shape.value, d)} * layout::kLineBytes;
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    const Frame frames[2] = {value_frame(tables, frame * parts), value_frame(tables, frame * parts + parts - 1)};
    value_levels(shape.value_code, args.body + at.values + frame * frame_bytes, parts * d, scratch.rows);
    for (int j = 0; j < 16; ++j) {
      const float scale = scratch.scales[layout::kFrameSlots * frame + j];
      decode_row(frames, parts, scale, nullptr, scratch.rows + j * parts * d, args.values + (layout::kFrames * j + frame) * d);
    }
  }
}

inline void decode_values(const DecodeArgs& args, const layout::BodyLayout& at, const AttendScratch& scratch) {
  const layout::PageShape& shape = args.tables->shape;
  switch (shape.value.book) {
    case Book::exact: return decode_exact(args.body + at.values, shape.row_dtype, shape.head_dim, args.values);
    case Book::signs:
    case Book::levels:
    case Book::fine:
    case Book::trellis: return decode_rotated_values(args, at, scratch);
    case Book::sketch: return;  // keys only
    case Book::minmax: return decode_minmax(args, at);
  }
}

void decode(const DecodeArgs& args) {
  const layout::BodyLayout at = layout::body_layout(args.tables->shape);
  const AttendScratch scratch(*args.tables, args.workspace);
  if (args.keys != nullptr) decode_keys(args, at, scratch);
  if (args.values != nullptr) decode_values(args, at, scratch);
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
