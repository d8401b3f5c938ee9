// Groups of a config, and what a sequence has of its pages: which are held, and which are forgotten as it grows.
#include "layer_groups.hpp"

#include "cache_state.hpp"
#include "fail.hpp"

namespace qjl {

LayerGroups::LayerGroups(const CacheConfig& config) {
  for (int layer = 0; layer < config.num_layers; ++layer) {
    const std::int64_t asked = config.layer_retention.empty() ? 0 : config.layer_retention[static_cast<std::size_t>(layer)];
    const std::int64_t retention = asked == 0 ? 0 : std::max<std::int64_t>(asked, layout::kPageTokens);
    const auto same = std::ranges::find(all, retention, &LayerGroup::retention);
    of_layer.push_back(static_cast<int>(same - all.begin()));
    if (same == all.end()) all.push_back({retention, {}});
    all[static_cast<std::size_t>(of_layer.back())].layers.push_back(layer);
  }
}

GroupLengths KvCache::State::lengths(const Sequence& sequence, int group) const {
  const std::vector<int>& layers = groups.all[static_cast<std::size_t>(group)].layers;
  const auto length = [&](int layer) { return sequence.layers[static_cast<std::size_t>(layer)].length; };
  const auto [least, most] = std::ranges::minmax(layers, {}, length);
  return {length(least), length(most)};
}

std::vector<std::int64_t> KvCache::State::held_places(const Sequence& sequence, int group, std::int64_t begin) const {
  const PageTable& table = sequence.tables[static_cast<std::size_t>(group)];
  const std::int64_t end = lengths(sequence, group).longest / layout::kPageTokens;
  std::vector<std::int64_t> places;
  for (std::int64_t i = begin; i < end; ++i) {
    if (table.has(i)) places.push_back(i);
  }
  return places;
}

bool KvCache::State::has_page(const Sequence& sequence, int layer, std::int64_t page) const {
  const Sequence::Layer& rows = sequence.layers[static_cast<std::size_t>(layer)];
  return page >= table(sequence, layer).first && page < rows.length / layout::kPageTokens && !rows.gap.has(page);
}

std::int64_t KvCache::State::first_kept(const Sequence& sequence, int layer) const {
  const std::int64_t first = table(sequence, layer).first;
  const PageSpan& gap = sequence.layers[static_cast<std::size_t>(layer)].gap;
  return std::max(first, gap.end) * layout::kPageTokens;
}

bool KvCache::State::has_tokens(const Sequence& sequence, int layer, std::int64_t first, std::int64_t end) const {
  if (!groups.of(layer).forgets()) return true;
  const std::int64_t sealed = sequence.layers[static_cast<std::size_t>(layer)].length / layout::kPageTokens;
  const std::int64_t end_page = std::min(sealed, (end + layout::kPageTokens - 1) / layout::kPageTokens);
  for (std::int64_t page = first / layout::kPageTokens; page < end_page; ++page) {
    if (!has_page(sequence, layer, page)) return false;
  }
  return true;
}

void KvCache::State::check_kept(const Sequence& sequence, int layer, std::int64_t first, std::int64_t end,
                                std::string_view operation, std::string_view what) const {
  require(has_tokens(sequence, layer, first, end), operation, what, " needs tokens from ", first, " on, wanted from ",
          first_kept(sequence, layer), " on: layer ", layer, ", which keeps the last ", groups.of(layer).retention,
          ", has forgotten those before");
}

void KvCache::State::grow(Sequence& sequence, int layer_idx, std::int64_t num_tokens) noexcept {
  Sequence::Layer& layer = sequence.layers[static_cast<std::size_t>(layer_idx)];
  const PageSpan needless = groups.of(layer_idx).needless(sequence.shortest(), num_tokens);
  layer.set_length(num_tokens);
  if (!needless.empty()) {
    const bool joins = layer.gap.end > table(sequence, layer_idx).first;  // else all layers have forgotten what it was
    layer.gap = {joins ? std::min(layer.gap.begin, needless.begin) : needless.begin, needless.end};
  }
  for (int group = 0; group < groups.count(); ++group) {
    if (groups.all[static_cast<std::size_t>(group)].forgets()) forget(sequence, group);
  }
}

void KvCache::State::forget(Sequence& sequence, int group) noexcept {
  const LayerGroup& kept = groups.all[static_cast<std::size_t>(group)];
  PageTable& table = sequence.tables[static_cast<std::size_t>(group)];
  const std::int64_t begin = table.first, end = lengths(sequence, group).longest / layout::kPageTokens;
  table.first = std::max(begin, kept.first_page(sequence.shortest()));
  bool has_released = false;
  for (std::int64_t page = begin; page < end; ++page) {
    std::int32_t& place = table.pages[static_cast<std::size_t>(page)];
    if (place == kNoPage || std::ranges::any_of(kept.layers, [&](int layer) { return has_page(sequence, layer, page); })) continue;
    pool.release(group, place);
    place = kNoPage;
    has_released = true;
  }
  if (!has_released) return;
  for (const int layer : kept.layers) ++sequence.layers[static_cast<std::size_t>(layer)].version;
}

}  // namespace qjl
