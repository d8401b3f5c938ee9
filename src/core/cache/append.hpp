// One append in pages: which ones it fills, and which rows stay open.
//
//   tokens  [length ............. length + tokens)
//   pages   [first_page ... end_page)     coded from open rows [0, open_before) and new ones; then the rest becomes the open rows
//
// Pages of `skipped` that it fills are not coded: the layer would let go of them at once (LayerGroup::needless).
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cache_state.hpp"

namespace qjl {

struct AppendSpan {
  AppendSpan(std::int64_t tokens_before, std::int64_t new_tokens, PageSpan needless = {})
      : length(tokens_before),
        tokens(new_tokens),
        first_page(length / layout::kPageTokens),
        end_page((length + tokens) / layout::kPageTokens),
        open_before(length % layout::kPageTokens),
        open_after((length + tokens) % layout::kPageTokens),
        skipped{std::max(first_page, needless.begin), std::min(end_page, needless.end)} {
    if (skipped.empty()) skipped = {first_page, first_page};
  }

  bool seals() const { return end_page > first_page; }
  // work(page) for each page that is coded.
  template <typename Work>
  void for_sealed(const Work& work) const {
    for (std::int64_t page = first_page; page < skipped.begin; ++page) work(page);
    for (std::int64_t page = skipped.end; page < end_page; ++page) work(page);
  }
  // Places of a page table that it fills and that are empty: how many, whatever the length, and which.
  std::int64_t num_new(const PageTable& table) const {
    const auto count = [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t listed = std::clamp(std::ssize(table.pages), begin, end);
      std::int64_t empty = end - listed;
      for (std::int64_t page = begin; page < listed; ++page) empty += table.has(page) ? 0 : 1;
      return empty;
    };
    return count(first_page, skipped.begin) + count(skipped.end, end_page);
  }
  std::vector<std::int64_t> new_places(const PageTable& table) const {
    std::vector<std::int64_t> places;
    for_sealed([&](std::int64_t page) {
      if (!table.has(page)) places.push_back(page);
    });
    return places;
  }
  // New tokens [open_first(), tokens) become open rows from open_start() on.
  std::int64_t open_start() const { return seals() ? 0 : open_before; }
  std::int64_t open_count() const { return open_after - open_start(); }
  std::int64_t open_first() const { return tokens - open_count(); }

  std::int64_t length, tokens, first_page, end_page, open_before, open_after;
  PageSpan skipped;  // within [first_page, end_page)
};

// Of tokens that come to a layer of a sequence.
AppendSpan append_span(const KvCache::State& state, const Sequence& sequence, int layer, std::int64_t new_tokens);

// Before places are listed: there are as many as a group has pages. Errors: out_of_pages, also where a page table cannot be so long.
void check_room(const KvCache::State& state, int group, const AppendSpan& span, const PageTable& table, std::string_view operation);

// New rows of a layer on their way into pages and open rows.
struct AppendRows {
  CacheLayer layer;
  AppendSpan span;
  const TensorView &keys, &values;        // [num_kv_heads, span.tokens, head_dim]
  std::span<const std::int32_t> pages{};  // of the sequence, those of this append included
  std::int32_t channel_page = 0;          // one whose outlier channels the pages after it take: sealed before them
  RowPlaces open{};                       // rows [0, span.open_before) of the open page
  RowPlaces sinks{};                      // where those of page 0 go

  std::int32_t page(std::int64_t page_idx) const { return pages[static_cast<std::size_t>(page_idx)]; }
  int num_sinks() const { return span.first_page == 0 && span.seals() ? layer.config().codec.sink_tokens : 0; }
};

// Codes the pages that fill, and writes their sinks; open rows are read. What no sequence has sealed is written and nothing else, so
// that an error leaves all sequences as they were. Errors: on the host invalid_argument on a number that does not fit.
void seal_on_host(const AppendRows& rows, ThreadPool& threads);
void seal_on_device(const AppendRows& rows, DeviceStream stream);

// Then the rows that stay open, in place of those before or behind them. On the host of rows that were looked at.
void keep_open_on_host(const AppendRows& rows, RowPlaces open);
void keep_open_on_device(const AppendRows& rows, RowPlaces open, DeviceStream stream);

// Looks at the rows on the host. Errors: invalid_argument naming the first number that the format cannot hold, keys before values.
void check_rows(const AppendRows& rows, ThreadPool& threads);
// Whether those that no page takes are in order.
bool open_rows_fit(const AppendRows& rows);

// All of it, of checked tensors and at least one token. Errors: out_of_pages; on the host invalid_argument on a number that does not
// fit.
void append_on_host(KvCache::State& state, Sequence& sequence, int layer, const TensorView& keys, const TensorView& values,
                    ThreadPool& threads);
void append_on_device(KvCache::State& state, Sequence& sequence, int layer, const TensorView& keys, const TensorView& values,
                      DeviceStream stream);

}  // namespace qjl
