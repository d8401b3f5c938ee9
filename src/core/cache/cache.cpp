// KvCache: its doors but append, read and truncate, which have files of their own. Every member checks and takes what may fail first
// and changes the cache last, so that an error leaves everything as it was.
#include "qjl/cache.hpp"

#include <memory>
#include <unordered_set>
#include <utility>

#include "cache_state.hpp"
#include "fail.hpp"
#include "queue.hpp"

namespace qjl {
namespace {

// A copy of the rows: on the host both sides hold the same blocks.
void copy_rows_of(const KvCache::State& s, const Sequence& from, Sequence& to, DeviceStream stream) {
  for (std::size_t i = 0; i < from.layers.size(); ++i) {
    to.layers[i].length = from.layers[i].length;
    if (!s.gpu) to.layers[i].tail = from.layers[i].tail, to.layers[i].sinks = from.layers[i].sinks;
  }
  if (s.gpu) s.backend.copy(to.rows.data(), from.rows.data(), to.rows.bytes(), stream);
}

std::int64_t node_bytes() {  // a node of std::unordered_map: next pointer and pair; the pair's Sequence is counted by itself
  return static_cast<std::int64_t>(sizeof(std::pair<std::int64_t, Sequence>) - sizeof(Sequence) + 2 * sizeof(void*));
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
  const std::int64_t shared = parent.shortest() / layout::kPageTokens, all = parent.longest() / layout::kPageTokens;
  s.check_free(all - shared, "fork");
  Sequence child = s.new_sequence();
  make_room(child.pages, all);
  child.pages.assign(parent.pages.begin(), parent.pages.begin() + shared);
  TakenPages taken(s.pool, all - shared);
  copy_rows_of(s, parent, child, stream);
  // Pages that only some layers have sealed will still be written by both sides: each side gets its own.
  for (std::int64_t i = shared; i < all; ++i) {
    for (int layer = 0; layer < s.config.num_layers; ++layer) {
      if (i >= parent.layers[static_cast<std::size_t>(layer)].length / layout::kPageTokens) continue;
      s.pool.copy(layer, parent.pages[static_cast<std::size_t>(i)], taken.pages()[static_cast<std::size_t>(i - shared)], stream);
    }
  }
  const SequenceId id = s.add(std::move(child));  // the last step that may fail
  std::vector<std::int32_t>& pages = s.find(id, "fork").pages;
  for (const std::int32_t page : pages) s.pool.share(page);
  taken.keep(pages);
  return id;
}

void KvCache::drop(SequenceId sequence) {
  Sequence& dropped = state_->find(sequence, "drop");
  if (state_->gpu) state_->gpu->spare_rows.push_back(std::move(dropped.rows));
  for (const std::int32_t page : dropped.pages) state_->pool.release(page);
  state_->sequences.erase(static_cast<std::int64_t>(sequence));
}

void KvCache::reserve(SequenceId sequence, std::int64_t num_tokens) {
  Sequence& found = state_->find(sequence, "reserve");
  require(num_tokens >= 0, "reserve", "num_tokens is ", num_tokens, ", wanted 0 or more");
  const std::int64_t pages = num_tokens / layout::kPageTokens, wanted = pages - static_cast<std::int64_t>(found.pages.size());
  if (wanted <= 0) return;
  state_->check_free(wanted, "reserve");
  make_room(found.pages, pages);
  TakenPages(state_->pool, wanted).keep(found.pages);
}

void KvCache::wait(Queue queue) { state_->wait(queue); }

std::int64_t KvCache::num_tokens(SequenceId sequence, int layer) const {
  const Sequence& found = state_->find(sequence, "num_tokens");
  state_->check_layer(layer, "num_tokens");
  return found.layers[static_cast<std::size_t>(layer)].length;
}

std::int64_t KvCache::num_tokens(SequenceId sequence) const { return state_->find(sequence, "num_tokens").shortest(); }

std::int64_t KvCache::free_pages() const { return state_->pool.free_pages(); }

MemoryReport KvCache::memory_report() const {
  const State& s = *state_;
  const PagePool::Bytes pool = s.pool.bytes();
  MemoryReport report;
  report.sealed_pages = pool.sealed;
  report.free_pages = pool.free;
  report.page_tables = pool.records + static_cast<std::int64_t>(sizeof(State) + s.sequences.bucket_count() * sizeof(void*));
  std::unordered_set<const RowBlock*> counted{nullptr};  // forks share blocks
  for (const auto& [id, sequence] : s.sequences) {
    report.page_tables += node_bytes() + sequence.record_bytes();
    report.num_tokens += sequence.shortest();
    for (const Sequence::Layer& layer : sequence.layers) {
      if (counted.insert(layer.tail.get()).second) report.tails += layer.tail->bytes();
      if (counted.insert(layer.sinks.get()).second) report.sinks += layer.sinks->bytes();
    }
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
  const double numbers = 2.0 * static_cast<double>(num_tokens) * config.num_layers * config.num_kv_heads * config.head_dim;
  return numbers > 0 ? 8.0 * static_cast<double>(total()) / numbers : 0.0;
}

double KvCache::bits() const { return memory_report().bits(config()); }

double KvCache::bits_sealed() const {
  const CacheConfig& c = state_->config;
  std::int64_t bytes = 0;
  for (int layer = 0; layer < c.num_layers; ++layer) bytes += page_bytes(layer);
  return 8.0 * static_cast<double>(bytes) / (2.0 * layout::kPageTokens * c.head_dim * c.num_layers);
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
  const std::int32_t page = found.pages[static_cast<std::size_t>(page_idx)];
  const auto* head = reinterpret_cast<const std::byte*>(s.pool.head(layer, kv_head, page));
  const auto* body = reinterpret_cast<const std::byte*>(s.pool.body(layer, kv_head, page));
  return {{head, sizeof(layout::PageHead)}, {body, static_cast<std::size_t>(s.pool.body_bytes(layer))}};
}

}  // namespace qjl
