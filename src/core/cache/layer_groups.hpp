// Layers that keep equally many tokens are a group: they share page tables, and the pool counts the pages of a group by themselves.
//
//   a layer of n tokens keeps the last `retention` of them at least, in whole pages: pages [first_page(n), n / 128) and the open tail
//
// One group keeps all (retention 0), and is the only one unless CacheConfig::layer_retention says otherwise.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "page.hpp"
#include "qjl/config.hpp"

namespace qjl {

// Pages [begin, end).
struct PageSpan {
  std::int64_t begin = 0, end = 0;
  bool empty() const { return begin >= end; }
  bool has(std::int64_t page) const { return page >= begin && page < end; }
};

struct LayerGroup {
  std::int64_t retention = 0;  // tokens, a page at least; 0: all
  std::vector<int> layers;

  bool forgets() const { return retention > 0; }
  std::int64_t first_page(std::int64_t tokens) const {
    return forgets() ? std::max<std::int64_t>(0, tokens - retention) / layout::kPageTokens : 0;
  }
  // Pages that a layer of `tokens` need not have, while the shortest layer of the sequence has `shortest`: a cut back to there stays
  // possible, for a pass through the layers that fails. Page 0 is sealed by every layer: it gives sinks, and a sketch its channels.
  PageSpan needless(std::int64_t shortest, std::int64_t tokens) const {
    const PageSpan span{std::max<std::int64_t>(1, (shortest + layout::kPageTokens - 1) / layout::kPageTokens), first_page(tokens)};
    return span.empty() ? PageSpan{} : span;
  }
};

struct LayerGroups {
  explicit LayerGroups(const CacheConfig& config);

  int count() const { return static_cast<int>(all.size()); }
  int index_of(int layer) const { return of_layer[static_cast<std::size_t>(layer)]; }
  const LayerGroup& of(int layer) const { return all[static_cast<std::size_t>(index_of(layer))]; }

  std::vector<LayerGroup> all;  // by their first layer
  std::vector<int> of_layer;    // [num_layers]
};

}  // namespace qjl
