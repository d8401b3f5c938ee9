// What a cache tells of its bytes: every one by kind, of full and windowed layers apart, and bits per number.
#include <algorithm>
#include <unordered_set>

#include "cache_state.hpp"

namespace qjl {
namespace {

std::int64_t node_bytes() {  // a node of std::unordered_map: next pointer and pair; the pair's Sequence is counted by itself
  return static_cast<std::int64_t>(sizeof(std::pair<std::int64_t, Sequence>) - sizeof(Sequence) + 2 * sizeof(void*));
}

}  // namespace

MemoryReport KvCache::memory_report() const {
  const State& s = *state_;
  MemoryReport report;
  for (int group = 0; group < s.groups.count(); ++group) {
    const LayerGroup& layers = s.groups.all[static_cast<std::size_t>(group)];
    LayerMemory& part = layers.forgets() ? report.windowed : report.full;
    const PagePool::Bytes pool = s.pool.bytes(group);
    part.num_layers += std::ssize(layers.layers);
    part.sealed_pages += pool.sealed;
    part.free_pages += pool.free;
  }
  report.page_tables =
      s.pool.record_bytes() + static_cast<std::int64_t>(sizeof(State) + s.sequences.bucket_count() * sizeof(void*));
  std::unordered_set<const RowBlock*> counted{nullptr};           // forks share blocks
  std::unordered_set<const std::vector<float>*> states{nullptr};  // and states
  for (const auto& [id, sequence] : s.sequences) {
    report.page_tables += node_bytes() + sequence.record_bytes();
    report.num_tokens += sequence.shortest();
    if (states.insert(sequence.recurrent.get()).second)
      report.recurrent += static_cast<std::int64_t>(sequence.recurrent->capacity() * sizeof(float));
    for (int l = 0; l < s.config.num_layers; ++l) {
      const Sequence::Layer& layer = sequence.layers[static_cast<std::size_t>(l)];
      LayerMemory& part = s.groups.of(l).forgets() ? report.windowed : report.full;
      part.kept_tokens += std::max<std::int64_t>(0, sequence.shortest() - s.first_kept(sequence, l));
      if (counted.insert(layer.tail.get()).second) part.tails += layer.tail->bytes();
      if (counted.insert(layer.sinks.get()).second) part.sinks += layer.sinks->bytes();
    }
  }
  for (const LayerMemory* part : {&report.full, &report.windowed}) {
    report.sealed_pages += part->sealed_pages;
    report.free_pages += part->free_pages;
    report.tails += part->tails;
    report.sinks += part->sinks;
  }
  report.codec_tables = s.table_bytes();
  if (s.gpu) report.scratch = s.gpu->scratch_bytes();
  return report;
}

std::int64_t KvCache::page_bytes(int layer) const {
  state_->check_layer(layer, "page_bytes");
  return layout::page_bytes(state_->tables(layer).shape);
}

double MemoryReport::bits(const CacheConfig& config) const {
  const double numbers = 2.0 * static_cast<double>(full.kept_tokens + windowed.kept_tokens) * config.num_kv_heads * config.head_dim;
  return numbers > 0 ? 8.0 * static_cast<double>(total() - recurrent) / numbers : 0.0;
}

double KvCache::bits() const { return memory_report().bits(config()); }

double KvCache::bits_sealed() const {
  const CacheConfig& c = state_->config;
  std::int64_t bytes = 0;
  for (int layer = 0; layer < c.num_layers; ++layer) bytes += page_bytes(layer);
  return 8.0 * static_cast<double>(bytes) / (2.0 * layout::kPageTokens * c.head_dim * c.num_layers);
}

}  // namespace qjl
