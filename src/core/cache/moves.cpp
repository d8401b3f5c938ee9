// copy_sequence and PinnedPages. Page indices of two caches differ, so runs of neighbours that are neighbours on both sides are
// copied at once. Rows go first: their copies, from or to memory that is not pinned, wait for the stream, and pages need not. What is
// copied is no sequence's until the last step, which cannot fail.
#include "qjl/moves.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "cache_state.hpp"
#include "cuda_backend.hpp"
#include "fail.hpp"
#include "queue.hpp"

namespace qjl {
namespace {

constexpr std::int64_t kPage = layout::kPageTokens;
constexpr std::string_view kCopy = "copy_sequence", kExtend = "extend_sequence";

void check_same(const CacheConfig& from, const CacheConfig& to, std::string_view operation) {
  const auto name = [](const CacheConfig& c) { return cache_type_name(c.codec); };
  require(name(from) == name(to), operation, "the caches have the types ", name(from), " and ", name(to), ", wanted the same");
  require(
      from.num_layers == to.num_layers && from.num_kv_heads == to.num_kv_heads && from.head_dim == to.head_dim &&
          from.tail_dtype == to.tail_dtype && from.layer_codes == to.layer_codes && from.codec.rope == to.codec.rope &&
          from.layer_ropes == to.layer_ropes && from.layer_windows == to.layer_windows &&
          from.layer_retention == to.layer_retention && from.recurrent_numbers == to.recurrent_numbers,
      operation,
      "the caches differ in layers, heads, head_dim, tail_dtype, codes of layers, RoPE, windows, retention or recurrent numbers, "
      "wanted the same");
}

// One sequence on its way from one cache to another.
class Move {
 public:
  // By `copying`, on its stream.
  Move(const KvCache::State& from, KvCache::State& to, const KvCache::State& copying, DeviceStream stream)
      : from_(from), to_(to), copying_(copying), stream_(stream) {}

  // From a page on, for a sequence that has what is before it, and whose page tables have places where the source has pages; it has
  // no more tokens for that.
  void run(std::int64_t first_page, const Sequence& source, const Sequence& moved) {
    rows_.resize(source.layers.size());
    for (std::size_t i = 0; i < rows_.size(); ++i) rows_[i] = copy_rows(source.layers[i], moved.layers[i]);
    if (source.recurrent) recurrent_ = std::make_shared<std::vector<float>>(*source.recurrent);
    for (int layer = 0; layer < from_.config.num_layers; ++layer) {
      std::vector<std::int32_t> from, to;
      for (std::int64_t i = first_page; i < source.layers[static_cast<std::size_t>(layer)].length / kPage; ++i) {
        if (!from_.has_page(source, layer, i)) continue;
        from.push_back(from_.table(source, layer).pages[static_cast<std::size_t>(i)]);
        to.push_back(to_.table(moved, layer).pages[static_cast<std::size_t>(i)]);
      }
      copy_pages(layer, from, to);
    }
  }
  // Then it has.
  void keep(const Sequence& source, Sequence& moved) noexcept {
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      Sequence::Layer& layer = moved.layers[i];
      if (rows_[i].tail) layer.tail = std::move(rows_[i].tail);
      if (rows_[i].sinks) layer.sinks = std::move(rows_[i].sinks);
      layer.set_length(source.layers[i].length);
      layer.gap = source.layers[i].gap;
    }
    moved.recurrent = std::move(recurrent_);
    moved.recurrent_tokens = source.recurrent_tokens;
  }

 private:
  struct Rows {
    std::shared_ptr<RowBlock> tail, sinks;
  };

  void copy(void* to, const void* from, std::int64_t bytes) const {
    copying_.gpu ? copying_.backend.copy(to, from, bytes, stream_)
                 : static_cast<void>(std::memcpy(to, from, static_cast<std::size_t>(bytes)));
  }

  // On a GPU into the block that is there.
  std::shared_ptr<RowBlock> copy_block(const RowBlock& from, const std::shared_ptr<RowBlock>& there, std::int64_t capacity,
                                       std::int64_t count) const {
    const CacheConfig& c = to_.config;
    std::shared_ptr<RowBlock> to = to_.gpu ? there : std::make_shared<RowBlock>(c.num_kv_heads, capacity, c.head_dim);
    const std::int64_t bytes = count * c.head_dim * static_cast<std::int64_t>(sizeof(std::uint16_t));
    for (int head = 0; head < c.num_kv_heads; ++head) {
      copy(to->keys(head, 0), from.keys(head, 0), bytes);
      copy(to->values(head, 0), from.values(head, 0), bytes);
    }
    return to;
  }

  Rows copy_rows(const Sequence::Layer& from, const Sequence::Layer& to) const {
    const std::int64_t sinks = to_.config.codec.sink_tokens;
    Rows rows;
    if (from.length % kPage > 0) rows.tail = copy_block(*from.tail, to.tail, kPage, from.length % kPage);
    if (from.length >= kPage && to.length < kPage && sinks > 0) rows.sinks = copy_block(*from.sinks, to.sinks, sinks, sinks);
    return rows;
  }

  void copy_pages(int layer, std::span<const std::int32_t> from, std::span<const std::int32_t> to) const {
    for (std::size_t i = 0; i < from.size(); ++i) to_.pool.touch(layer, to[i]);
    const std::int64_t bytes = to_.pool.body_bytes(layer), head_bytes = sizeof(layout::PageHead);
    for (std::size_t begin = 0, end = 0; begin < from.size(); begin = end) {
      end = begin + 1;
      while (end < from.size() && from[end] == from[end - 1] + 1 && to[end] == to[end - 1] + 1) ++end;
      const auto count = static_cast<std::int64_t>(end - begin);
      for (int head = 0; head < to_.config.num_kv_heads; ++head) {
        copy(to_.pool.body(layer, head, to[begin]), from_.pool.body(layer, head, from[begin]), count * bytes);
        copy(to_.pool.head(layer, head, to[begin]), from_.pool.head(layer, head, from[begin]), count * head_bytes);
      }
    }
  }

  const KvCache::State& from_;
  KvCache::State& to_;
  const KvCache::State& copying_;
  DeviceStream stream_;
  std::vector<Rows> rows_;  // [num_layers]
  std::shared_ptr<std::vector<float>> recurrent_;
};

// The cache whose queue copies.
const KvCache::State& copying_cache(const KvCache& from, const KvCache& to) {
  return from.state().gpu && !to.state().gpu ? from.state() : to.state();
}

void wait_for_copies(const KvCache::State& copying, const Queue& queue, std::string_view operation) {
  if (!copying.gpu) return;
  const DeviceScope scope = copying.select();
  copying.backend.wait(stream_of(queue, copying.device, operation));
}

// Bodies and heads of all pages of a host's cache.
std::array<std::span<std::uint8_t>, 2> memory_of(const KvCache& cache) {
  const PagePool& pool = cache.state().pool;
  const CacheConfig& c = cache.state().config;
  const auto range = [](auto* begin, auto* end) {
    auto *first = reinterpret_cast<std::uint8_t*>(begin), *last = reinterpret_cast<std::uint8_t*>(end);
    return std::span(first, last);
  };
  return {range(pool.body(0, 0, 0), pool.body(c.num_layers - 1, c.num_kv_heads, 0)),
          range(pool.head(0, 0, 0), pool.head(c.num_layers, 0, 0))};
}

}  // namespace

SequenceId start_copy_sequence(const KvCache& from, SequenceId sequence, KvCache& to, Queue queue) {
  const KvCache::State& source_cache = from.state();
  KvCache::State& target = to.state();
  check_same(source_cache.config, target.config, kCopy);
  const Sequence& source = source_cache.find(sequence, kCopy);
  GroupPlaces places;
  for (int group = 0; group < target.groups.count(); ++group) places.push_back(source_cache.held_places(source, group, 0));
  target.check_free(places, kCopy);
  const KvCache::State& copying = copying_cache(from, to);
  const DeviceStream stream = stream_of(queue, copying.device, kCopy);
  const DeviceScope scope = copying.select();
  Sequence moved = target.new_sequence();
  for (std::size_t group = 0; group < moved.tables.size(); ++group) moved.tables[group].first = source.tables[group].first;
  FilledTables filled(target.pool, moved, places);
  Move move(source_cache, target, copying, stream);
  move.run(0, source, moved);
  move.keep(source, moved);
  const SequenceId id = target.add(std::move(moved));
  filled.keep();
  return id;
}

SequenceId copy_sequence(const KvCache& from, SequenceId sequence, KvCache& to, Queue queue) {
  const SequenceId id = start_copy_sequence(from, sequence, to, queue);
  wait_for_copies(copying_cache(from, to), queue, kCopy);
  return id;
}

void extend_sequence(const KvCache& from, SequenceId sequence, KvCache& to, SequenceId onto, Queue queue) {
  const KvCache::State& source_cache = from.state();
  KvCache::State& target = to.state();
  check_same(source_cache.config, target.config, kExtend);
  target.check_keeps_all(kExtend);
  const Sequence& source = source_cache.find(sequence, kExtend);
  Sequence& extended = target.find(onto, kExtend);
  const std::int64_t length = extended.shortest(), had = length / kPage, pages = source.longest() / kPage;
  require(extended.longest() == length && length % kPage == 0, kExtend, "the sequence to extend has ", extended.longest(),
          " tokens, wanted whole pages of ", kPage, ", the same in all layers");
  require(length <= source.shortest(), kExtend, "the sequence to extend has ", length, " tokens, wanted at most ",
          source.shortest());
  std::vector<std::int64_t> places;
  for (std::int64_t i = had; i < pages; ++i) {
    if (!extended.tables[0].has(i)) places.push_back(i);  // others are reserved
  }
  target.check_free(0, std::ssize(places), kExtend);
  const KvCache::State& copying = copying_cache(from, to);
  const DeviceStream stream = stream_of(queue, copying.device, kExtend);
  const DeviceScope scope = copying.select();
  FilledPlaces filled(target.pool, 0, extended.tables[0].pages, places);
  Move move(source_cache, target, copying, stream);
  move.run(had, source, extended);
  wait_for_copies(copying, queue, kExtend);
  move.keep(source, extended);
  filled.keep();
}

PinnedPages::PinnedPages(const KvCache& cache) : cache_(cache) {
  require(!cache.state().gpu, "pin", "found a cache on ", device_name(cache.device()), ", wanted one of the host");
  const Backend& backend = cuda::backend(0);
  const auto [bodies, heads] = memory_of(cache);
  backend.pin(bodies.data(), std::ssize(bodies));
  try {
    backend.pin(heads.data(), std::ssize(heads));
  } catch (...) {
    backend.unpin(bodies.data());
    throw;
  }
  cache.state().pool.pin();
}
PinnedPages::~PinnedPages() {
  cache_.state().pool.unpin();
  for (const std::span<std::uint8_t> memory : memory_of(cache_)) cuda::backend(0).unpin(memory.data());
}

}  // namespace qjl
