// The inside of CudaCache. A KvCache keeps the books: sequences, lengths, page tables, references. Its own pool is never written; a
// page's bytes lie in device memory at the offset that the books' pool gives them.
//
//   rows of a sequence   per layer: keys [kv_heads, 128, d] and values of the open page, then keys [kv_heads, sinks, d] and values
//   scratch              rounded rows of up to kMaxPlacedPages pages, and the arrays of EncodeArgs
#pragma once

#include <unordered_map>
#include <vector>

#include "cache_state.hpp"
#include "device_tables.hpp"
#include "qjl/cuda_cache.hpp"
#include "rows.hpp"

namespace qjl {

// The caller's device comes back when the scope ends.
class DeviceScope {
 public:
  DeviceScope(const Backend& backend, int device) : backend_(backend), before_(backend.select(device)) {}
  ~DeviceScope() { backend_.select(before_); }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  const Backend& backend_;
  int before_;
};

// 16-bit rows of one layer in device memory.
struct DeviceRows {
  std::uint16_t *keys, *values;
  std::int64_t head_stride;  // numbers
};

struct EncodeScratch {
  std::uint16_t *keys, *values;  // [kv_heads, kMaxPlacedPages * 128, d]
  const std::uint16_t **key_rows, **value_rows;
  std::uint8_t **bodies, *sinks, *choose;
  layout::PageHead** heads;
  std::int64_t bytes;
};
EncodeScratch encode_scratch(const CacheConfig& config, std::uint8_t* base);  // base null: only bytes

struct CudaCache::State {
  State(CacheConfig config, int device);

  const CacheConfig& config() const { return books.config; }
  const CodecTables& device_tables(int layer) const {
    return tables[books.constants_of_layer[static_cast<std::size_t>(layer)]].tables();
  }
  std::uint8_t* body(int layer, int kv_head, std::int32_t page) const;
  layout::PageHead* head(int layer, int kv_head, std::int32_t page) const;
  std::int64_t rows_bytes() const;  // of a sequence
  // Errors: invalid_argument unless this cache's device reads what is at that address, whatever its view says.
  void check_memory(const void* at, const RowsName& name) const;
  DeviceRows open_rows(SequenceId sequence, int layer) const;
  DeviceRows sink_rows(SequenceId sequence, int layer) const;
  int device;
  const Backend& backend;
  KvCache::State books;
  std::vector<DeviceTables> tables;  // as books.constants
  DeviceMemory bodies, heads, scratch_memory, misfit;
  EncodeScratch scratch{};
  std::unordered_map<std::int64_t, DeviceMemory> rows;
  std::vector<DeviceMemory> spare_rows;
};

}  // namespace qjl
