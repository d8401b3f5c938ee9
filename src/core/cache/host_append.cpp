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
  AppendRows rows{s.layer(layer_idx), AppendSpan(layer.length, keys.tokens), keys, values};
  const AppendSpan& span = rows.span;
  const std::int64_t new_pages = span.new_pages(sequence);
  // A wrong number is told before a lack of pages.
  if (s.pool.free_pages() < new_pages || !open_rows_fit(rows)) check_rows(rows, threads);
  s.check_free(new_pages, "append");
  make_room(sequence.pages, std::max<std::int64_t>(span.end_page, std::ssize(sequence.pages)));
  TakenPages taken(s.pool, new_pages);
  rows.pages = {sequence.pages, taken.pages()};
  std::shared_ptr<RowBlock> sinks;
  if (rows.num_sinks() > 0) {
    sinks = std::make_shared<RowBlock>(s.config.num_kv_heads, rows.num_sinks(), s.config.head_dim);
    rows.sinks = sinks->places();
  }
  if (layer.tail) rows.open = layer.tail->places();
  std::shared_ptr<RowBlock> tail = new_tail(s.config, layer, span);
  seal_on_host(rows, threads);
  for (std::int64_t i = span.first_page; i < span.end_page; ++i) s.pool.touch(layer_idx, rows.pages[i]);
  // From here on nothing can fail.
  if (tail) keep_open_on_host(rows, tail->places());
  layer.tail = std::move(tail);
  if (sinks) layer.sinks = std::move(sinks);
  taken.keep(sequence.pages);
  layer.set_length(span.length + span.tokens);
}

}  // namespace qjl
