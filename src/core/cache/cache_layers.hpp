// CacheLayers: how the layers of a cache are coded and where, whoever owns the pages. KvCache (cache_state.hpp) has a pool beside it,
// PagedCache the caller's memory.
//
//   CacheLayer   one of them with its pages: what an append and an attend see
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "backend.hpp"
#include "codec_tables.hpp"
#include "device_state.hpp"
#include "page_places.hpp"
#include "rows.hpp"

namespace qjl {

inline constexpr std::int64_t kMostRetention = std::int64_t{1} << 40;  // tokens: longer than any sequence

// Errors: invalid_argument unless a cache can be made of it, but for what its codecs say themselves; with or without a pool.
void check_layers_config(const CacheConfig& config);
void check_cache_config(const CacheConfig& config);

struct CacheLayers {
  // Errors: invalid_argument; unsupported without that device.
  CacheLayers(CacheConfig config, Device device);

  void check_layer(int layer, std::string_view operation) const;
  // Errors: invalid_argument unless the cache's device reads what is at that address, whatever its view says. Null is nothing.
  void check_memory(const void* at, const RowsName& name) const;

  // The constants as the verbs of the cache's device take them.
  const CodecTables& tables(int layer) const {
    const std::size_t i = constants_of_layer[static_cast<std::size_t>(layer)];
    return gpu ? gpu->tables[i].tables() : constants[i].tables();
  }
  std::vector<std::int64_t> body_bytes() const;  // [num_layers]
  std::int64_t table_bytes() const;
  DeviceScope select() const { return {backend, device}; }
  // KvCache::wait.
  void wait(const Queue& queue) const;

  CacheConfig config;
  Device device;
  const Backend& backend;
  std::vector<CodecConstants> constants;        // one per pair of codes and RoPE in use
  std::vector<std::size_t> constants_of_layer;  // [num_layers]
  std::unique_ptr<DeviceState> gpu;             // null on the host
};

struct CacheLayer {
  const CacheLayers* all = nullptr;
  int index = 0;
  PagePlaces pages{};

  const CacheConfig& config() const { return all->config; }
  const Backend& backend() const { return all->backend; }
  const CodecTables& tables() const { return all->tables(index); }
};

}  // namespace qjl
