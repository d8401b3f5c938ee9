// What a cache is made of beside its layers: a pool of pages, sequences and their rows.
#include "cache_state.hpp"

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "fail.hpp"

namespace qjl {

KvCache::State::State(CacheConfig cache_config, Device where)
    : CacheLayers((check_cache_config(cache_config), std::move(cache_config)), where), groups(config), pool([&] {
        const DeviceScope scope = select();
        return PagePool(body_bytes(), groups.of_layer, config.num_kv_heads, config.max_pages, backend);
      }()) {
  if (!gpu || config.layer_retention.empty()) return;
  fail(ErrorKind::unsupported, "cache", "found layer_retention, wanted none on ", device_name(device),
       ": all tokens are kept there");
}

const Sequence& KvCache::State::find(SequenceId id, std::string_view operation) const {
  const auto found = sequences.find(static_cast<std::int64_t>(id));
  require(found != sequences.end(), operation, "sequence ", static_cast<std::int64_t>(id), " does not exist, wanted one of the ",
          sequences.size(), " that live");
  return found->second;
}

Sequence& KvCache::State::find(SequenceId id, std::string_view operation) {
  return const_cast<Sequence&>(std::as_const(*this).find(id, operation));
}

void KvCache::State::check_free(int group, std::int64_t wanted, std::string_view operation) const {
  if (wanted <= pool.free_pages(group)) return;
  const std::int64_t kept = groups.all[static_cast<std::size_t>(group)].retention;
  fail(ErrorKind::out_of_pages, operation, wanted, " pages are wanted, ", pool.free_pages(group), " of ", pool.capacity(),
       " are free", kept == 0 ? "" : " for layers that keep " + std::to_string(kept) + " tokens");
}

void KvCache::State::check_free(const GroupPlaces& places, std::string_view operation) const {
  for (std::size_t group = 0; group < places.size(); ++group) {
    check_free(static_cast<int>(group), std::ssize(places[group]), operation);
  }
}

void KvCache::State::check_keeps_all(std::string_view operation) const {
  const bool keeps = groups.count() == 1 && !groups.all[0].forgets();
  if (!keeps) fail(ErrorKind::unsupported, operation, "found layer_retention, wanted a cache whose layers keep all tokens");
}

void KvCache::State::own_recurrent_state(Sequence& sequence) const {
  const bool is_own = sequence.recurrent && sequence.recurrent.use_count() == 1;
  if (is_own || config.recurrent_numbers == 0) return;
  sequence.recurrent = sequence.recurrent
                           ? std::make_shared<std::vector<float>>(*sequence.recurrent)
                           : std::make_shared<std::vector<float>>(static_cast<std::size_t>(config.recurrent_numbers));
}

void KvCache::State::check_no_recurrent_state(std::string_view operation) const {
  if (config.recurrent_numbers == 0) return;
  fail(ErrorKind::unsupported, operation, "found sequences with a recurrent state of ", config.recurrent_numbers,
       " numbers, wanted a cache of layers with keys alone");
}

HeldTokens KvCache::State::held(const Sequence& sequence, int layer) const {
  const Sequence::Layer& rows = sequence.layers[static_cast<std::size_t>(layer)];
  const auto sealed = static_cast<std::size_t>(rows.length / layout::kPageTokens);
  return {rows.length, std::span(table(sequence, layer).pages).first(sealed), rows.tail ? rows.tail->places() : RowPlaces{},
          rows.sinks ? rows.sinks->places() : RowPlaces{}};
}

std::int64_t KvCache::State::rows_bytes() const {
  const std::int64_t tokens = layout::kPageTokens + config.codec.sink_tokens;
  return config.num_layers * RowBlock::bytes_of(config.num_kv_heads, tokens, config.head_dim);
}

// On a GPU every layer's tail and sinks stand one after the other in the memory of its sequence.
Sequence KvCache::State::new_sequence() {
  Sequence sequence(config.num_layers, groups.count());
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

SequenceId KvCache::State::add(Sequence&& sequence) {
  sequences.reserve(sequences.size() + 1);
  sequences.emplace(next_id, std::move(sequence));
  return SequenceId{next_id++};
}

// The table grows by doubling.
FilledPlaces::FilledPlaces(PagePool& pool, int group, std::vector<std::int32_t>& table, std::vector<std::int64_t> places)
    : pool_(pool), group_(group), table_(table), size_before_(table.size()), places_(std::move(places)), pages_(places_.size()) {
  if (places_.empty()) return;
  const std::size_t size = std::max(table.size(), static_cast<std::size_t>(std::ranges::max(places_)) + 1);
  if (size > table.capacity()) table.reserve(std::max(size, 2 * table.capacity()));
  table.resize(size, kNoPage);
  pool_.acquire(group, pages_);
  for (std::size_t i = 0; i < places_.size(); ++i) table[static_cast<std::size_t>(places_[i])] = pages_[i];
}

FilledPlaces::~FilledPlaces() {
  if (pages_.empty()) return;
  for (const std::int32_t page : pages_) pool_.release(group_, page);
  for (const std::int64_t place : places_) table_[static_cast<std::size_t>(place)] = kNoPage;
  table_.resize(size_before_);
}

FilledTables::FilledTables(PagePool& pool, Sequence& sequence, const GroupPlaces& places) {
  for (std::size_t group = 0; group < places.size(); ++group) {
    auto& table = sequence.tables[group].pages;
    filled_.push_back(std::make_unique<FilledPlaces>(pool, static_cast<int>(group), table, places[group]));
  }
}

}  // namespace qjl
