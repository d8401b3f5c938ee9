// Codes the keys of whole pages.
//
//   mean    = of the page's keys before RoPE, int8 (encode/mean.hpp)
//   x_t     = k_t - what the mean predicts   coded in the keys' frames (encode/vectors.hpp), 16 tokens of one value frame at a time
//   bytes   = codes packed as page.hpp says, 8-bit scales below the page's largest
//
// Exact keys are copied, the paper's are sketched (encode/paper.hpp). Source: docs/format.md, docs/numerics.md.
#define QJL_THIS_FILE "encode_keys.cpp"
#include "foreach_target.hpp"
#ifdef QJL_PASS

#include <cstdint>
#include <cstring>

#include "args.hpp"
#include "encode/mean.hpp"
#include "encode/pack_keys.hpp"
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

inline void encode_rotated_keys(const EncodeArgs& args, std::int64_t i, const layout::BodyLayout& at,
                                const EncodeScratch& scratch) {
  const CodecTables& tables = *args.tables;
  const int d = tables.shape.head_dim, num_sinks = args.num_sinks[i];
  std::uint8_t* body = args.bodies[i];
  const Code code = tables.shape.key_code;
  const int parts = tables.shape.key.frames;
  const Frame first_frame = key_frame(tables, 0), last_frame = key_frame(tables, parts - 1);
  const VectorJob job{code,
                      {{{first_frame, last_frame}, {first_frame, last_frame}}, {tables.key_cross, tables.key_cross}},
                      WordOrder::of_keys(parts * d)};
  std::memset(body + at.mean, 0, static_cast<std::size_t>(at.key_scales - at.mean));
  std::memset(body + at.keys, 0, static_cast<std::size_t>(at.outlier_keys - at.keys));
  for (int frame = 0; frame < layout::kFrames; ++frame) {
    load_frame(args.rows[i], args.token_stride, args.row_dtype, frame, d, scratch.page + frame * d * 16);
  }
  args.heads[i]->mean_scale = encode_mean(tables, num_sinks, scratch, reinterpret_cast<std::int8_t*>(body + at.mean));
  for (int frame = 0; frame < layout::kFrames; frame += 2) {
    const auto load_group = [&](int group) { take_residual(scratch, frame + group, d); };
    const i32x16 live[2] = {live_lanes(frame, num_sinks), live_lanes(frame + 1, num_sinks)};
    encode_vectors(job, load_group, live, scratch, scratch.scales + layout::kFrameSlots * frame);
    for (int group = 0; group < 2; ++group) {
      pack_keys(code, scratch.words + group * scratch.num_words * kLanes, d, frame + group, body + at.keys);
    }
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
    switch (shape.key.book) {
      case Book::exact: copy_rows(args.rows[i], args.token_stride, args.num_sinks[i], shape.head_dim, body + at.keys); break;
      case Book::signs:
      case Book::levels:
      case Book::fine:
      case Book::trellis: encode_rotated_keys(args, i, at, scratch); break;
      case Book::sketch: encode_sketch(args, i, at, scratch); break;
      case Book::minmax: break;  // values only
    }
  }
}

}  // namespace qjl::cpu::QJL_NAMESPACE
QJL_PASS_END

#endif
