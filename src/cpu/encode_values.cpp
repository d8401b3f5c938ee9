// Codes the values of whole pages: no mean, closing scale, and the frame of token t is t mod 8, so the 16 tokens of a slot block
// share one frame.
//
//   x_t   = v_t, coded in the frames 8-cycle (encode/vectors.hpp)
//   bytes = per frame, per 16 channels: 32-bit words of 4 tokens a byte, packed as page.hpp says; 8-bit scales as for keys
//
// Exact values are copied, the paper's are min-max coded (encode/paper.hpp).
#define QJL_THIS_FILE "encode_values.cpp"
#include "foreach_target.hpp"
#ifdef QJL_PASS

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "args.hpp"
#include "encode/pack_values.hpp"
#include "encode/paper.hpp"
#include "encode/scales.hpp"
#include "encode/tokens.hpp"
#include "encode/vectors.hpp"
#include "encode/words.hpp"
#include "frame.hpp"
#include "lanes.hpp"
#include "page.hpp"
#include "scratch.hpp"

QJL_PASS_BEGIN
namespace qjl::cpu::QJL_NAMESPACE {
using namespace simd::QJL_NAMESPACE;

inline void encode_rotated_values(const EncodeArgs& args, std::int64_t i, const layout::BodyLayout& at,
                                  const EncodeScratch& scratch) {
  const CodecTables& tables = *args.tables;
  const Code code = tables.shape.value_code;
  const int d = tables.shape.head_dim, parts = tables.shape.value.frames;
  const std::int64_t frame_bytes = std::int64_t{layout::value_lines_per_frame(tables.shape.value, d)} * layout::kLineBytes;
  std::uint8_t* body = args.bodies[i];
  for (int frame = 0; frame < layout::kFrames; frame += 2) {
    VectorJob job{code, {}, WordOrder::of_values(parts * d)};
    for (int group = 0; group < 2; ++group) {
      const int first = (frame + group) * parts;
      job.frames.frame[group][0] = value_frame(tables, first);
      job.frames.frame[group][1] = value_frame(tables, first + parts - 1);
      job.frames.cross[group] = tables.value_cross == nullptr ? nullptr : tables.value_cross + std::int64_t{frame + group} * d * d;
    }
    const auto load_group = [&](int group) {
      load_frame(args.rows[i], args.token_stride, args.row_dtype, frame + group, d, scratch.x);
    };
    const i32x16 live[2] = {live_lanes(frame, args.num_sinks[i]), live_lanes(frame + 1, args.num_sinks[i])};
    encode_vectors(job, load_group, live, scratch, scratch.scales + layout::kFrameSlots * frame);
    for (int group = 0; group < 2; ++group) {
      pack_values(code, scratch.words + group * scratch.num_words * kLanes, parts * d,
                  body + at.values + (frame + group) * frame_bytes);
    }
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
    switch (shape.value.book) {
      case Book::exact: copy_rows(args.rows[i], args.token_stride, args.num_sinks[i], shape.head_dim, body + at.values); break;
      case Book::signs:
      case Book::levels:
      case Book::fine:
      case Book::trellis: encode_rotated_values(args, i, at, scratch); break;
      case Book::sketch: break;  // keys only
      case Book::minmax: encode_minmax(args, i, at); break;
    }
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
