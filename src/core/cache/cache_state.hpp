// The inside of KvCache: shared by the files of src/core that implement its members (cache, append, truncate, moves, attend).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "backend.hpp"
#include "codec_tables.hpp"
#include "device_state.hpp"
#include "pool.hpp"
#include "qjl/cache.hpp"
#include "rows.hpp"
#include "sequence.hpp"

namespace qjl {

// Errors: invalid_argument unless a cache can be made of it, but for what its codecs say themselves.
void check_cache_config(const CacheConfig& config);

struct KvCache::State {
  // Errors: invalid_argument; unsupported without that device.
  State(CacheConfig config, Device device);

  // Errors: invalid_argument when the sequence does not exist; the operation is named.
  const Sequence& find(SequenceId id, std::string_view operation) const;
  Sequence& find(SequenceId id, std::string_view operation);
  void check_layer(int layer, std::string_view operation) const;
  // Errors: out_of_pages unless `wanted` pages are free.
  void check_free(std::int64_t wanted, std::string_view operation) const;

  // Errors: invalid_argument unless the cache's device reads what is at that address, whatever its view says. Null is nothing.
  void check_memory(const void* at, const RowsName& name) const;

  // The constants as the verbs of the cache's device take them.
  const CodecTables& tables(int layer) const {
    const std::size_t i = constants_of_layer[static_cast<std::size_t>(layer)];
    return gpu ? gpu->tables[i].tables() : constants[i].tables();
  }
  DeviceScope select() const { return {backend, device}; }

  // An empty one, on a GPU with memory for its rows; and the id of one that has come to be: the last step, only memory may lack.
  Sequence new_sequence();
  std::int64_t rows_bytes() const;  // of a sequence on a GPU
  SequenceId add(Sequence sequence);

  CacheConfig config;
  Device device;
  const Backend& backend;
  std::vector<CodecConstants> constants;        // one per pair of codes and RoPE in use
  std::vector<std::size_t> constants_of_layer;  // [num_layers]
  PagePool pool;
  std::unordered_map<std::int64_t, Sequence> sequences;
  std::int64_t next_id = 1;
  std::unique_ptr<DeviceState> gpu;  // null on the host

 private:
  struct Codecs {
    std::vector<CodecConstants> constants;
    std::vector<std::size_t> of_layer;
    std::vector<std::int64_t> body_bytes;
  };
  static Codecs make_codecs(const CacheConfig& config);
  State(CacheConfig config, Device device, Codecs codecs);
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
