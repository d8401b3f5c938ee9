// The inside of KvCache: shared by the files of src/core that implement its members (cache, append, truncate, moves, attend).
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache_layers.hpp"
#include "pool.hpp"
#include "qjl/cache.hpp"
#include "sequence.hpp"

namespace qjl {

struct KvCache::State : CacheLayers {
  // Errors: invalid_argument; unsupported without that device.
  State(CacheConfig config, Device device);

  // Errors: invalid_argument when the sequence does not exist; the operation is named.
  const Sequence& find(SequenceId id, std::string_view operation) const;
  Sequence& find(SequenceId id, std::string_view operation);
  // Errors: out_of_pages unless `wanted` pages are free.
  void check_free(std::int64_t wanted, std::string_view operation) const;

  CacheLayer layer(int index) const { return {this, index, pool.places(index)}; }
  // What a sequence holds in a layer.
  HeldTokens held(const Sequence& sequence, int layer) const;

  // An empty one, on a GPU with memory for its rows; and the id of one that has come to be: the last step, only memory may lack.
  Sequence new_sequence();
  std::int64_t rows_bytes() const;  // of a sequence on a GPU
  SequenceId add(Sequence sequence);

  PagePool pool;
  std::unordered_map<std::int64_t, Sequence> sequences;
  std::int64_t next_id = 1;
};

// Pages taken from the pool that go back unless they are kept.
class TakenPages {
 public:
  TakenPages(PagePool& pool, std::int64_t count) : pool_(pool), pages_(static_cast<std::size_t>(count)) { pool_.acquire(pages_); }
  ~TakenPages() {
    for (const std::int32_t page : pages_) pool_.release(page);
  }
  TakenPages(const TakenPages&) = delete;
  TakenPages& operator=(const TakenPages&) = delete;

  const std::vector<std::int32_t>& pages() const { return pages_; }
  // Appends them to a table that has room.
  void keep(std::vector<std::int32_t>& table) noexcept {
    table.insert(table.end(), pages_.begin(), pages_.end());
    pages_.clear();
  }

 private:
  PagePool& pool_;
  std::vector<std::int32_t> pages_;
};

// Makes room in a page table for `count` entries in all; grows by doubling.
void make_room(std::vector<std::int32_t>& table, std::int64_t count);

}  // namespace qjl
