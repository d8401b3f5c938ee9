// An append on the host: pages and rows are taken, full pages sealed (host_seal.cpp), the rest becomes the open tail.
//
// Rows of whole pages are checked where they are rounded, so that a prompt is read once; the rest is checked before it is written.
#include <algorithm>
#include <memory>
#include <utility>

#include "append.hpp"
#include "rows.hpp"

namespace qjl {
namespace {

// The block that will hold the open tokens: the old one unless a fork shares it; null when none stays open.
std::shared_ptr<RowBlock> new_tail(const CacheConfig& config, const Sequence::Layer& layer, const AppendSpan& span) {
  if (span.open_after == 0) return nullptr;
  if (layer.tail && layer.tail.use_count() == 1) return layer.tail;
  auto block = std::make_shared<RowBlock>(config.num_kv_heads, layout::kPageTokens, config.head_dim);
  if (layer.tail && !span.seals()) block->copy_rows(*layer.tail, span.open_before);
  return block;
}

}  // namespace

void append_on_host(KvCache::State& s, Sequence& sequence, int layer_idx, const TensorView& keys, const TensorView& values,
                    ThreadPool& threads) {
  Sequence::Layer& layer = sequence.layers[static_cast<std::size_t>(layer_idx)];
  const int group = s.groups.index_of(layer_idx);
  PageTable& table = sequence.tables[static_cast<std::size_t>(group)];
  AppendRows rows{s.layer(layer_idx), append_span(s, sequence, layer_idx, keys.tokens), keys, values};
  const AppendSpan& span = rows.span;
  // A wrong number is told before a lack of pages, and where nobody codes it.
  if (s.pool.free_pages(group) < span.num_new(table) || !span.skipped.empty() || !open_rows_fit(rows)) check_rows(rows, threads);
  check_room(s, group, span, table, "append");
  FilledPlaces filled(s.pool, group, table.pages, span.new_places(table));
  rows.pages = table.pages;
  if (span.seals()) rows.channel_page = rows.page(std::max<std::int64_t>(span.first_page, 1) - 1);
  std::shared_ptr<RowBlock> sinks;
  if (rows.num_sinks() > 0) {
    sinks = std::make_shared<RowBlock>(s.config.num_kv_heads, rows.num_sinks(), s.config.head_dim);
    rows.sinks = sinks->places();
  }
  if (layer.tail) rows.open = layer.tail->places();
  std::shared_ptr<RowBlock> tail = new_tail(s.config, layer, span);
  seal_on_host(rows, threads);
  span.for_sealed([&](std::int64_t page) { s.pool.touch(layer_idx, rows.page(page)); });
  // From here on nothing can fail.
  if (tail) keep_open_on_host(rows, tail->places());
  layer.tail = std::move(tail);
  if (sinks) layer.sinks = std::move(sinks);
  filled.keep();
  s.grow(sequence, layer_idx, span.length + span.tokens);
}

}  // namespace qjl
