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

// One append's kernels.
class DeviceAppend {
 public:
  DeviceAppend(const AppendRows& rows, DeviceStream stream)
      : rows_(rows), span_(rows.span), config_(rows.layer.config()), gpu_(*rows.layer.all->gpu), stream_(stream) {}

  void seal() const;
  void keep_open(const RowPlaces& open) const;

 private:
  TensorView stored(const std::uint16_t* rows, std::int64_t head_stride) const {
    return {rows,        config_.tail_dtype, config_.num_kv_heads,   kPage, config_.head_dim,
            head_stride, config_.head_dim,   rows_.layer.all->device};
  }
  void copy(CopyRowsArgs args) const {
    if (args.count == 0) return;
    args.to_dtype = config_.tail_dtype;
    args.misfit = reinterpret_cast<std::int32_t*>(gpu_.misfit.data());
    args.stream = stream_;
    rows_.layer.backend().copy_rows(args);
  }
  void stage(const TensorView& rows, const std::uint16_t* open, std::uint16_t* staging, std::int64_t first_page,
             std::int64_t count) const;
  void place(std::int64_t first_page, std::int64_t count) const;
  void encode(std::int64_t count) const;
  void keep_sinks() const;

  const AppendRows& rows_;
  const AppendSpan& span_;
  const CacheConfig& config_;
  const DeviceState& gpu_;
  const DeviceStream stream_;
};

// Tokens of `count` pages into the scratch: those of the open page, then new ones.
void DeviceAppend::stage(const TensorView& rows, const std::uint16_t* open, std::uint16_t* staging, std::int64_t first_page,
                         std::int64_t count) const {
  const std::int64_t stride = kMaxPlacedPages * kPage * rows.dim, first = first_page * kPage - span_.length;
  const std::int64_t from_open = std::max<std::int64_t>(0, -first);
  copy(copy_of(stored(open, rows_.open.head_stride), 0, from_open, staging, stride));
  copy(copy_of(rows, first + from_open, count * kPage - from_open, staging + from_open * rows.dim, stride));
}

void DeviceAppend::place(std::int64_t first_page, std::int64_t count) const {
  const EncodeScratch& scratch = gpu_.scratch;
  const layout::PageShape& shape = rows_.layer.tables().shape;
  const layout::BodyLayout at = layout::body_layout(shape);
  const PagePlaces& places = rows_.layer.pages;
  PlacePagesArgs args{};
  for (std::int64_t i = 0; i < count; ++i) args.page[i] = rows_.page(first_page + i);
  args.first_page = rows_.channel_page;
  args.count = static_cast<std::int32_t>(count);
  args.num_kv_heads = config_.num_kv_heads;
  args.starts = first_page == 0;
  args.num_sinks = static_cast<std::uint8_t>(config_.codec.sink_tokens);
  args.bodies = places.bodies;
  args.body_head_stride = places.body_head_stride;
  args.body_page_stride = places.body_page_stride;
  args.heads = places.heads;
  args.head_head_stride = places.head_head_stride;
  args.head_page_stride = places.head_page_stride;
  args.keys = scratch.keys;
  args.values = scratch.values;
  args.row_head_stride = kMaxPlacedPages * kPage * config_.head_dim;
  args.row_page_stride = kPage * config_.head_dim;
  args.outlier_idx = at.outlier_idx;
  args.outlier_bytes = shape.outlier_channels > 0 ? at.key_norms - at.outlier_idx : 0;
  args.key_rows = scratch.key_rows;
  args.value_rows = scratch.value_rows;
  args.body_at = scratch.bodies;
  args.sinks_at = scratch.sinks;
  args.choose_at = scratch.choose;
  args.head_at = scratch.heads;
  args.stream = stream_;
  rows_.layer.backend().place_pages(args);
}

void DeviceAppend::encode(std::int64_t count) const {
  const EncodeScratch& scratch = gpu_.scratch;
  EncodeArgs args{.tables = &rows_.layer.tables(),
                  .row_dtype = config_.tail_dtype,
                  .count = count * config_.num_kv_heads,
                  .rows = scratch.key_rows,
                  .token_stride = config_.head_dim,
                  .num_sinks = scratch.sinks,
                  .choose_outliers = scratch.choose,
                  .bodies = scratch.bodies,
                  .heads = scratch.heads,
                  .workspace = nullptr,
                  .stream = stream_};
  rows_.layer.backend().encode_keys(args);
  args.rows = scratch.value_rows;
  rows_.layer.backend().encode_values(args);
}

// Sinks stand in the first page's rows.
void DeviceAppend::keep_sinks() const {
  const std::int64_t stride = kMaxPlacedPages * kPage * config_.head_dim, count = rows_.num_sinks();
  if (count == 0) return;
  copy(copy_of(stored(gpu_.scratch.keys, stride), 0, count, rows_.sinks.keys, rows_.sinks.head_stride));
  copy(copy_of(stored(gpu_.scratch.values, stride), 0, count, rows_.sinks.values, rows_.sinks.head_stride));
}

void DeviceAppend::seal() const {
  const bool outliers = rows_.layer.tables().shape.outlier_channels > 0;
  for (std::int64_t page = span_.first_page; page < span_.end_page;) {
    // A sketch takes its outlier channels from the first page, so that one is coded before all others.
    const std::int64_t most = outliers && page == 0 ? 1 : kMaxPlacedPages, count = std::min(most, span_.end_page - page);
    stage(rows_.keys, rows_.open.keys, gpu_.scratch.keys, page, count);
    stage(rows_.values, rows_.open.values, gpu_.scratch.values, page, count);
    place(page, count);
    encode(count);
    if (page == 0) keep_sinks();
    page += count;
  }
}

void DeviceAppend::keep_open(const RowPlaces& open) const {
  const std::int64_t start = span_.open_start(), count = span_.open_count(), first = span_.open_first();
  if (count == 0) return;
  copy(copy_of(rows_.keys, first, count, open.key(0, start), open.head_stride));
  copy(copy_of(rows_.values, first, count, open.value(0, start), open.head_stride));
}

}  // namespace

void seal_on_device(const AppendRows& rows, DeviceStream stream) { DeviceAppend(rows, stream).seal(); }
void keep_open_on_device(const AppendRows& rows, RowPlaces open, DeviceStream stream) {
  DeviceAppend(rows, stream).keep_open(open);
}

void append_on_device(KvCache::State& s, Sequence& sequence, int layer_idx, const TensorView& keys, const TensorView& values,
                      DeviceStream stream) {
  Sequence::Layer& layer = sequence.layers[static_cast<std::size_t>(layer_idx)];
  const int group = s.groups.index_of(layer_idx);
  PageTable& table = sequence.tables[static_cast<std::size_t>(group)];
  AppendRows rows{s.layer(layer_idx), append_span(s, sequence, layer_idx, keys.tokens), keys, values};
  const AppendSpan& span = rows.span;
  check_room(s, group, span, table, "append");
  FilledPlaces(s.pool, group, table.pages, span.new_places(table)).keep();
  rows.pages = table.pages;
  if (span.seals()) rows.channel_page = rows.page(0);
  rows.open = layer.tail->places();
  if (layer.sinks) rows.sinks = layer.sinks->places();
  seal_on_device(rows, stream);
  span.for_sealed([&](std::int64_t page) { s.pool.touch(layer_idx, rows.page(page)); });
  keep_open_on_device(rows, rows.open, stream);
  s.grow(sequence, layer_idx, span.length + span.tokens);
}

}  // namespace qjl
