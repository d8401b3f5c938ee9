// Sizes are asked of a cache of the shape; the pool is as large as the budget would be without open rows.
#include "typed_cache.hpp"

#include <algorithm>
#include <string>

#include "qjl/error.hpp"
#include "qjl/moves.hpp"

namespace qjl::engine {
namespace {

std::int64_t page_bytes_of(const KvCache& cache) {
  std::int64_t bytes = 0;
  for (int layer = 0; layer < cache.config().num_layers; ++layer) bytes += cache.page_bytes(layer) * cache.config().num_kv_heads;
  return bytes;
}

CacheConfig shape_of(const Model& model, const CacheType& type, std::int64_t pages) {
  CacheConfig config = model.cache_config(type.codec, 1);
  type.apply(config);
  config.max_pages = pages;
  return config;
}

CacheConfig with_pages(CacheConfig config, std::int64_t pages) {
  config.max_pages = std::max<std::int64_t>(1, pages);
  return config;
}

}  // namespace

ParkedSequence::ParkedSequence(const KvCache& from, SequenceId sequence)
    : cache_(std::make_unique<KvCache>(with_pages(from.config(), from.num_tokens(sequence) / kTokensPerPage))),
      sequence_(copy_sequence(from, sequence, *cache_)) {}

void ParkedSequence::bring_back(KvCache& to, SequenceId onto) const { extend_sequence(*cache_, sequence_, to, onto); }

TypedCache::TypedCache(const Model& model, const CacheType& type, int index, std::int64_t budget_bytes)
    : type_(type), index_(index), budget_bytes_(budget_bytes) {
  const KvCache one(shape_of(model, type, 1));
  const CacheConfig& c = one.config();
  page_bytes_ = page_bytes_of(one);
  page_bytes_f16_ = std::int64_t{4} * c.num_layers * c.num_kv_heads * kTokensPerPage * c.head_dim;
  // 16-bit keys and values of a page and of the sinks.
  open_row_bytes_ = std::int64_t{4} * c.num_layers * c.num_kv_heads * (kTokensPerPage + c.codec.sink_tokens) * c.head_dim;
  open_row_bytes_ += c.recurrent_numbers * static_cast<std::int64_t>(sizeof(float));  // and the state
  // Tables, and some room for the records of sequences, which a request that has all of the cache may count on.
  const MemoryReport empty = one.memory_report();
  fixed_bytes_ = empty.codec_tables + empty.page_tables + budget_bytes / 64;
  if (capacity_pages() < 1) {
    throw Error(ErrorKind::invalid_argument, "[scheduler] the cache of type " + type.name + " has " + std::to_string(budget_bytes) +
                                                 " bytes, wanted at least " +
                                                 std::to_string((fixed_bytes_ + open_row_bytes_ + page_bytes_) * 64 / 63));
  }
  cache_ = std::make_unique<KvCache>(shape_of(model, type, budget_bytes / page_bytes_));
  tree_ = std::make_unique<PrefixTree>(*cache_);
}

std::int64_t TypedCache::pages_beside(std::int64_t live, std::int64_t other_bytes) const {
  const std::int64_t left = budget_bytes_ - other_bytes - live * open_row_bytes_;
  return left < 0 ? -1 : left / page_bytes_;
}

bool TypedCache::make_room(std::int64_t pages, const Promises& others) {
  const std::int64_t live = others.live + 1;
  const auto missing = [&] {
    const MemoryReport now = cache_->memory_report();
    const std::int64_t other_bytes = std::max(fixed_bytes_, now.codec_tables + now.page_tables + now.sinks);
    const std::int64_t used = cache_->config().max_pages - cache_->free_pages();
    const std::int64_t left = used + others.pages + pages - pages_beside(live, other_bytes);
    // Free pages that were used once are still resident: they go where others need their room.
    if (left <= 0 && now.sealed_pages + now.free_pages + other_bytes + live * open_row_bytes_ > budget_bytes_) cache_->trim();
    return left;
  };
  const std::int64_t wanted = missing();
  if (wanted <= 0) return true;
  // Where nothing is live nobody gives pages back later: everything idle goes, and what it frees besides pages is counted anew.
  if (others.live > 0 && tree_->idle_pages() < wanted) return false;
  evicted_pages += tree_->evict(wanted);
  return missing() <= 0;
}

CacheAccount TypedCache::account() const {
  CacheAccount out;
  out.name = type_.name;
  out.bits_sealed = cache_->bits_sealed();
  out.memory = cache_->memory_report();
  out.budget_bytes = budget_bytes_;
  out.page_bytes = page_bytes_;
  out.pages_idle = tree_->idle_pages();
  const std::int64_t used = cache_->config().max_pages - cache_->free_pages();
  out.pages_used = used - out.pages_idle;
  out.pages_free = cache_->free_pages();
  out.capacity_tokens = capacity_tokens();
  const std::int64_t exact = budget_bytes_ - open_row_bytes_;
  out.capacity_tokens_f16 = std::max<std::int64_t>(0, exact / page_bytes_f16_ * kTokensPerPage);
  out.prefix_hits = hits;
  out.prefix_hit_tokens = hit_tokens;
  out.prefix_misses = misses;
  out.evicted_pages = evicted_pages;
  return out;
}

}  // namespace qjl::engine
