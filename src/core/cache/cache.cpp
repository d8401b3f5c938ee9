// KvCache: its doors but append, read, truncate and accounts, which have files of their own. Every member checks and takes what may fail first
// and changes the cache last, so that an error leaves everything as it was.
#include "qjl/cache.hpp"

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "append.hpp"
#include "cache_state.hpp"
#include "fail.hpp"
#include "queue.hpp"

namespace qjl {
namespace {

// A copy of the rows: on the host both sides hold the same blocks.
void copy_rows_of(const KvCache::State& s, const Sequence& from, Sequence& to, DeviceStream stream) {
  for (std::size_t i = 0; i < from.layers.size(); ++i) {
    to.layers[i].length = from.layers[i].length;
    to.layers[i].gap = from.layers[i].gap;
    if (!s.gpu) to.layers[i].tail = from.layers[i].tail, to.layers[i].sinks = from.layers[i].sinks;
  }
  if (s.gpu) s.backend.copy(to.rows.data(), from.rows.data(), to.rows.bytes(), stream);
}

}  // namespace

KvCache::KvCache(CacheConfig config, Device device) : state_(std::make_unique<State>(std::move(config), device)) {}
KvCache::~KvCache() = default;

const CacheConfig& KvCache::config() const { return state_->config; }
Device KvCache::device() const { return state_->device; }

SequenceId KvCache::create() {
  const DeviceScope scope = state_->select();
  return state_->add(state_->new_sequence());
}

SequenceId KvCache::fork(SequenceId sequence, Queue queue) {
  State& s = *state_;
  const DeviceScope scope = s.select();
  const DeviceStream stream = stream_of(queue, s.device, "fork");
  const Sequence& parent = s.find(sequence, "fork");
  // Of each group pages behind its shortest layer are shared. Those that only some layers have sealed will still be written by both
  // sides: each side gets its own.
  GroupPlaces own;
  for (int group = 0; group < s.groups.count(); ++group) {
    own.push_back(s.held_places(parent, group, s.lengths(parent, group).shortest / layout::kPageTokens));
  }
  s.check_free(own, "fork");
  Sequence child = s.new_sequence();
  for (int group = 0; group < s.groups.count(); ++group) {
    const PageTable& from = parent.tables[static_cast<std::size_t>(group)];
    PageTable& to = child.tables[static_cast<std::size_t>(group)];
    to.first = from.first;
    to.pages.assign(from.pages.begin(), from.pages.begin() + s.lengths(parent, group).shortest / layout::kPageTokens);
  }
  FilledTables filled(s.pool, child, own);
  child.recurrent = parent.recurrent;
  child.recurrent_tokens = parent.recurrent_tokens;
  copy_rows_of(s, parent, child, stream);
  for (int layer = 0; layer < s.config.num_layers; ++layer) {
    for (const std::int64_t i : own[static_cast<std::size_t>(s.groups.index_of(layer))]) {
      const auto place = static_cast<std::size_t>(i);
      if (!s.has_page(parent, layer, i)) continue;
      s.pool.copy(layer, s.table(parent, layer).pages[place], s.table(child, layer).pages[place], stream);
    }
  }
  const SequenceId id = s.add(std::move(child));  // the last step that may fail
  filled.keep();
  const Sequence& forked = s.find(id, "fork");
  for (int group = 0; group < s.groups.count(); ++group) {
    const auto shared = s.lengths(forked, group).shortest / layout::kPageTokens;
    for (const std::int32_t page : std::span(forked.tables[static_cast<std::size_t>(group)].pages).first(shared)) {
      if (page != kNoPage) s.pool.share(group, page);
    }
  }
  return id;
}

void KvCache::extend(SequenceId onto, SequenceId from, std::int64_t num_tokens) {
  State& s = *state_;
  s.check_keeps_all("extend");
  s.check_no_recurrent_state("extend");
  Sequence& extended = s.find(onto, "extend");
  const Sequence& source = s.find(from, "extend");
  const std::int64_t had = extended.shortest(), pages = num_tokens / layout::kPageTokens, first = had / layout::kPageTokens;
  require(had == extended.longest() && first > 0 && had % layout::kPageTokens == 0, "extend", "the sequence has ",
          extended.longest(), " tokens, wanted whole pages of ", layout::kPageTokens, ", at least one, the same in all layers");
  require(num_tokens % layout::kPageTokens == 0 && num_tokens >= had && num_tokens <= source.shortest(), "extend", "num_tokens is ",
          num_tokens, ", wanted a multiple of ", layout::kPageTokens, " from ", had, " to ", source.shortest());
  std::vector<std::int32_t>& table = extended.tables[0].pages;
  const std::vector<std::int32_t>& shared = source.tables[0].pages;
  if (std::ssize(table) < pages) table.resize(static_cast<std::size_t>(pages), kNoPage);  // the one step that may fail
  for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(pages); ++i) {
    s.pool.share(0, shared[i]);
    if (table[i] != kNoPage) s.pool.release(0, table[i]);  // it was reserved
    table[i] = shared[i];
  }
  for (Sequence::Layer& layer : extended.layers) layer.set_length(num_tokens);
}

void KvCache::drop(SequenceId sequence) {
  Sequence& dropped = state_->find(sequence, "drop");
  if (state_->gpu) state_->gpu->spare_rows.push_back(std::move(dropped.rows));
  for (int group = 0; group < state_->groups.count(); ++group) {
    for (const std::int32_t page : dropped.tables[static_cast<std::size_t>(group)].pages) {
      if (page != kNoPage) state_->pool.release(group, page);
    }
  }
  state_->sequences.erase(static_cast<std::int64_t>(sequence));
}

void KvCache::reserve(SequenceId sequence, std::int64_t num_tokens) {
  Sequence& found = state_->find(sequence, "reserve");
  require(num_tokens >= 0, "reserve", "num_tokens is ", num_tokens, ", wanted 0 or more");
  State& s = *state_;
  const auto span = [&](int group) {
    const std::int64_t shortest = s.lengths(found, group).shortest;
    const PageSpan needless = s.groups.all[static_cast<std::size_t>(group)].needless(found.shortest(), num_tokens);
    return AppendSpan(shortest, std::max<std::int64_t>(0, num_tokens - shortest), needless);
  };
  const auto table = [&](int group) -> const PageTable& { return found.tables[static_cast<std::size_t>(group)]; };
  bool has_all = true;
  for (int group = 0; group < s.groups.count(); ++group) {
    check_room(s, group, span(group), table(group), "reserve");
    has_all = has_all && span(group).num_new(table(group)) == 0;
  }
  s.own_recurrent_state(found);
  if (has_all) return;  // as in most steps of a decode, which take nothing from the heap
  GroupPlaces places;
  for (int group = 0; group < s.groups.count(); ++group) places.push_back(span(group).new_places(table(group)));
  FilledTables(s.pool, found, places).keep();
}

void KvCache::wait(Queue queue) { state_->wait(queue); }

std::int64_t KvCache::num_tokens(SequenceId sequence, int layer) const {
  const Sequence& found = state_->find(sequence, "num_tokens");
  state_->check_layer(layer, "num_tokens");
  return found.layers[static_cast<std::size_t>(layer)].length;
}

std::int64_t KvCache::num_tokens(SequenceId sequence) const { return state_->find(sequence, "num_tokens").shortest(); }

std::span<const float> KvCache::recurrent_state(SequenceId sequence) const {
  const Sequence& found = state_->find(sequence, "recurrent_state");
  return found.recurrent ? std::span<const float>(*found.recurrent) : std::span<const float>();
}

std::int64_t KvCache::recurrent_tokens(SequenceId sequence) const {
  return state_->find(sequence, "recurrent_tokens").recurrent_tokens;
}

void KvCache::set_recurrent_state(SequenceId sequence, std::vector<float>& numbers) {
  Sequence& found = state_->find(sequence, "set_recurrent_state");
  require(std::ssize(numbers) == state_->config.recurrent_numbers, "set_recurrent_state", "found ", numbers.size(),
          " numbers, wanted ", state_->config.recurrent_numbers);
  if (numbers.empty()) return;
  state_->own_recurrent_state(found);
  found.recurrent->swap(numbers);
  found.recurrent_tokens = found.shortest();
}

std::int64_t KvCache::first_kept(SequenceId sequence, int layer) const {
  const Sequence& found = state_->find(sequence, "first_kept");
  state_->check_layer(layer, "first_kept");
  return state_->first_kept(found, layer);
}

std::int64_t KvCache::free_pages() const {
  std::int64_t least = state_->pool.capacity();
  for (int group = 0; group < state_->groups.count(); ++group) least = std::min(least, state_->pool.free_pages(group));
  return least;
}

void KvCache::trim() {
  if (!state_->gpu) state_->pool.trim();
}

KvCache::PageBytes KvCache::page(SequenceId sequence, int layer, int kv_head, std::int64_t page_idx) const {
  const State& s = *state_;
  if (s.gpu) fail(ErrorKind::unsupported, "page", "found a cache on ", device_name(s.device), ", wanted one of the host");
  const Sequence& found = s.find(sequence, "page");
  s.check_layer(layer, "page");
  require(kv_head >= 0 && kv_head < s.config.num_kv_heads, "page", "kv head is ", kv_head, ", wanted 0 to ",
          s.config.num_kv_heads - 1);
  const std::int64_t sealed = found.layers[static_cast<std::size_t>(layer)].length / layout::kPageTokens;
  require(page_idx >= 0 && page_idx < sealed, "page", "page is ", page_idx, ", wanted one of the ", sealed, " sealed ones");
  s.check_kept(found, layer, page_idx * layout::kPageTokens, (page_idx + 1) * layout::kPageTokens, "page",
               "page " + std::to_string(page_idx));
  const std::int32_t page = s.table(found, layer).pages[static_cast<std::size_t>(page_idx)];
  const auto* head = reinterpret_cast<const std::byte*>(s.pool.head(layer, kv_head, page));
  const auto* body = reinterpret_cast<const std::byte*>(s.pool.body(layer, kv_head, page));
  return {{head, sizeof(layout::PageHead)}, {body, static_cast<std::size_t>(s.pool.body_bytes(layer))}};
}

}  // namespace qjl
