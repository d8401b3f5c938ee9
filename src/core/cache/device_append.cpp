// An append on a GPU: rows are rounded into scratch memory, whole pages placed and coded from there, the rest becomes open rows. The
// sequence changes when the work is on the stream.
#include <algorithm>

#include "append.hpp"

namespace qjl {
namespace {

constexpr std::int64_t kPage = layout::kPageTokens;

// Rows of one side of an append: where they come from and where they go.
CopyRowsArgs copy_of(const TensorView& from, std::int64_t first, std::int64_t count, std::uint16_t* to,
                     std::int64_t to_head_stride) {
  CopyRowsArgs args{};
  args.from = row_address(from, 0, first);
  args.from_dtype = from.dtype;
  args.from_head_stride = from.head_stride;
  args.from_token_stride = from.token_stride;
  args.to = to;
  args.to_head_stride = to_head_stride;
  args.to_token_stride = args.dim = from.dim;
  args.heads = from.heads;
  args.count = count;
  return args;
}

// One append: positions in pages, and the steps.
class DeviceAppend {
 public:
  DeviceAppend(KvCache::State& state, Sequence& sequence, int layer, DeviceStream stream)
      : s_(state),
        sequence_(sequence),
        layer_(sequence.layers[static_cast<std::size_t>(layer)]),
        layer_idx_(layer),
        tail_(*layer_.tail),
        stream_(stream) {}

  void run(const TensorView& keys, const TensorView& values);

 private:
  TensorView stored(const std::uint16_t* rows, std::int64_t head_stride) const {
    const CacheConfig& c = s_.config;
    return {rows, c.tail_dtype, c.num_kv_heads, kPage, c.head_dim, head_stride, c.head_dim, s_.device};
  }
  void copy(CopyRowsArgs args) const {
    if (args.count == 0) return;
    args.to_dtype = s_.config.tail_dtype;
    args.misfit = reinterpret_cast<std::int32_t*>(s_.gpu->misfit.data());
    args.stream = stream_;
    s_.backend.copy_rows(args);
  }
  void stage(const TensorView& rows, const std::uint16_t* tail, std::uint16_t* staging, std::int64_t first_page,
             std::int64_t count) const;
  void place(std::int64_t first_page, std::int64_t count) const;
  void encode(std::int64_t count) const;
  void keep_sinks() const;

  KvCache::State& s_;
  Sequence& sequence_;
  Sequence::Layer& layer_;
  const int layer_idx_;
  const RowBlock& tail_;
  const DeviceStream stream_;
};

// Tokens of `count` pages into the scratch: those of the open page, then new ones.
void DeviceAppend::stage(const TensorView& rows, const std::uint16_t* tail, std::uint16_t* staging, std::int64_t first_page,
                         std::int64_t count) const {
  const std::int64_t stride = kMaxPlacedPages * kPage * rows.dim, first = first_page * kPage - layer_.length;
  const std::int64_t open = std::max<std::int64_t>(0, -first);
  copy(copy_of(stored(tail, tail_.head_stride()), 0, open, staging, stride));
  copy(copy_of(rows, first + open, count * kPage - open, staging + open * rows.dim, stride));
}

void DeviceAppend::place(std::int64_t first_page, std::int64_t count) const {
  const CacheConfig& config = s_.config;
  const EncodeScratch& scratch = s_.gpu->scratch;
  const layout::PageShape& shape = s_.tables(layer_idx_).shape;
  const layout::BodyLayout at = layout::body_layout(shape);
  const SealedPages pages = s_.pool.sealed(layer_idx_, {});
  PlacePagesArgs args{};
  std::copy_n(sequence_.pages.begin() + first_page, count, args.page);
  args.first_page = sequence_.pages[0];
  args.count = static_cast<std::int32_t>(count);
  args.num_kv_heads = config.num_kv_heads;
  args.starts = first_page == 0;
  args.num_sinks = static_cast<std::uint8_t>(config.codec.sink_tokens);
  args.bodies = s_.pool.body(layer_idx_, 0, 0);
  args.body_head_stride = pages.body_head_stride;
  args.body_page_stride = pages.body_page_stride;
  args.heads = s_.pool.head(layer_idx_, 0, 0);
  args.head_head_stride = pages.head_head_stride;
  args.head_page_stride = pages.head_page_stride;
  args.keys = scratch.keys;
  args.values = scratch.values;
  args.row_head_stride = kMaxPlacedPages * kPage * config.head_dim;
  args.row_page_stride = kPage * config.head_dim;
  args.outlier_idx = at.outlier_idx;
  args.outlier_bytes = shape.outlier_channels > 0 ? at.key_norms - at.outlier_idx : 0;
  args.key_rows = scratch.key_rows;
  args.value_rows = scratch.value_rows;
  args.body_at = scratch.bodies;
  args.sinks_at = scratch.sinks;
  args.choose_at = scratch.choose;
  args.head_at = scratch.heads;
  args.stream = stream_;
  s_.backend.place_pages(args);
}

void DeviceAppend::encode(std::int64_t count) const {
  const EncodeScratch& scratch = s_.gpu->scratch;
  EncodeArgs args{.tables = &s_.tables(layer_idx_),
                  .row_dtype = s_.config.tail_dtype,
                  .count = count * s_.config.num_kv_heads,
                  .rows = scratch.key_rows,
                  .token_stride = s_.config.head_dim,
                  .num_sinks = scratch.sinks,
                  .choose_outliers = scratch.choose,
                  .bodies = scratch.bodies,
                  .heads = scratch.heads,
                  .workspace = nullptr,
                  .stream = stream_};
  s_.backend.encode_keys(args);
  args.rows = scratch.value_rows;
  s_.backend.encode_values(args);
}

// Sinks stand in the first page's rows.
void DeviceAppend::keep_sinks() const {
  if (!layer_.sinks) return;
  const EncodeScratch& scratch = s_.gpu->scratch;
  const std::int64_t stride = kMaxPlacedPages * kPage * s_.config.head_dim, count = s_.config.codec.sink_tokens;
  copy(copy_of(stored(scratch.keys, stride), 0, count, layer_.sinks->keys(0, 0), layer_.sinks->head_stride()));
  copy(copy_of(stored(scratch.values, stride), 0, count, layer_.sinks->values(0, 0), layer_.sinks->head_stride()));
}

void DeviceAppend::run(const TensorView& keys, const TensorView& values) {
  const AppendSpan span(layer_.length, keys.tokens);
  const std::int64_t new_pages = span.new_pages(sequence_);
  s_.check_free(new_pages, "append");
  make_room(sequence_.pages, span.end_page);
  TakenPages(s_.pool, new_pages).keep(sequence_.pages);
  const EncodeScratch& scratch = s_.gpu->scratch;
  const bool outliers = s_.tables(layer_idx_).shape.outlier_channels > 0;
  for (std::int64_t page = span.first_page; page < span.end_page;) {
    // A sketch takes its outlier channels from the first page, so that one is coded before all others.
    const std::int64_t most = outliers && page == 0 ? 1 : kMaxPlacedPages, count = std::min(most, span.end_page - page);
    stage(keys, tail_.keys(0, 0), scratch.keys, page, count);
    stage(values, tail_.values(0, 0), scratch.values, page, count);
    place(page, count);
    encode(count);
    if (page == 0) keep_sinks();
    for (std::int64_t i = page; i < page + count; ++i) s_.pool.touch(layer_idx_, sequence_.pages[static_cast<std::size_t>(i)]);
    page += count;
  }
  const std::int64_t start = span.open_start(), count = span.open_count(), first = span.open_first();
  copy(copy_of(keys, first, count, tail_.keys(0, start), tail_.head_stride()));
  copy(copy_of(values, first, count, tail_.values(0, start), tail_.head_stride()));
  layer_.set_length(span.length + span.tokens);
}

}  // namespace

void append_on_device(KvCache::State& state, Sequence& sequence, int layer, const TensorView& keys, const TensorView& values,
                      DeviceStream stream) {
  DeviceAppend(state, sequence, layer, stream).run(keys, values);
}

}  // namespace qjl
