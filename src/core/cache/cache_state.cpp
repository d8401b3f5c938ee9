// What a cache is made of beside its layers: a pool of pages, sequences and their rows.
#include "cache_state.hpp"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include "fail.hpp"

namespace qjl {

KvCache::State::State(CacheConfig cache_config, Device where)
    : CacheLayers((check_cache_config(cache_config), std::move(cache_config)), where), pool([&] {
        const DeviceScope scope = select();
        return PagePool(body_bytes(), config.num_kv_heads, config.max_pages, backend);
      }()) {}

const Sequence& KvCache::State::find(SequenceId id, std::string_view operation) const {
  const auto found = sequences.find(static_cast<std::int64_t>(id));
  require(found != sequences.end(), operation, "sequence ", static_cast<std::int64_t>(id), " does not exist, wanted one of the ",
          sequences.size(), " that live");
  return found->second;
}

Sequence& KvCache::State::find(SequenceId id, std::string_view operation) {
  return const_cast<Sequence&>(std::as_const(*this).find(id, operation));
}

void KvCache::State::check_free(std::int64_t wanted, std::string_view operation) const {
  if (wanted <= pool.free_pages()) return;
  fail(ErrorKind::out_of_pages, operation, wanted, " pages are wanted, ", pool.free_pages(), " of ", pool.capacity(), " are free");
}

HeldTokens KvCache::State::held(const Sequence& sequence, int layer) const {
  const Sequence::Layer& rows = sequence.layers[static_cast<std::size_t>(layer)];
  const auto sealed = static_cast<std::size_t>(rows.length / layout::kPageTokens);
  return {rows.length, std::span(sequence.pages).first(sealed), rows.tail ? rows.tail->places() : RowPlaces{},
          rows.sinks ? rows.sinks->places() : RowPlaces{}};
}

std::int64_t KvCache::State::rows_bytes() const {
  const std::int64_t tokens = layout::kPageTokens + config.codec.sink_tokens;
  return config.num_layers * RowBlock::bytes_of(config.num_kv_heads, tokens, config.head_dim);
}

// On a GPU every layer's tail and sinks stand one after the other in the memory of its sequence.
Sequence KvCache::State::new_sequence() {
  Sequence sequence(config.num_layers);
  if (!gpu) return sequence;
  if (gpu->spare_rows.empty()) gpu->spare_rows.emplace_back(backend, rows_bytes());
  auto* memory = reinterpret_cast<std::uint16_t*>(gpu->spare_rows.back().data());
  const auto block = [&](std::int64_t tokens) {
    auto rows = std::make_shared<RowBlock>(memory, config.num_kv_heads, tokens, config.head_dim);
    memory += RowBlock::bytes_of(config.num_kv_heads, tokens, config.head_dim) / static_cast<std::int64_t>(sizeof(*memory));
    return rows;
  };
  for (Sequence::Layer& layer : sequence.layers) {
    layer.tail = block(layout::kPageTokens);
    if (config.codec.sink_tokens > 0) layer.sinks = block(config.codec.sink_tokens);
  }
  sequence.rows = std::move(gpu->spare_rows.back());
  gpu->spare_rows.pop_back();
  return sequence;
}

SequenceId KvCache::State::add(Sequence sequence) {
  sequences.emplace(next_id, std::move(sequence));
  return SequenceId{next_id++};
}

void make_room(std::vector<std::int32_t>& table, std::int64_t count) {
  const auto wanted = static_cast<std::size_t>(count);
  if (wanted > table.capacity()) table.reserve(std::max(wanted, 2 * table.capacity()));
}

}  // namespace qjl
