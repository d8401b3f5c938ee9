// What a cache on a GPU has beside pages and rows.
//
//   scratch   rounded rows of up to kMaxPlacedPages pages, and the arrays of EncodeArgs; a page that is decoded uses it too
//   misfit    a number that append sets where the cache's format cannot hold what came
#pragma once

#include <vector>

#include "device_tables.hpp"
#include "qjl/config.hpp"

namespace qjl {

struct EncodeScratch {
  std::uint16_t *keys, *values;  // [kv_heads, kMaxPlacedPages * 128, d]
  const std::uint16_t **key_rows, **value_rows;
  std::uint8_t **bodies, *sinks, *choose;
  layout::PageHead** heads;
  std::int64_t bytes;
};

struct DeviceState {
  // On the device that is selected. Errors: unsupported without room on it.
  DeviceState(const Backend& backend, const CacheConfig& config);

  std::int64_t scratch_bytes() const;  // spare rows included

  std::vector<DeviceTables> tables;  // as the cache's constants
  DeviceMemory scratch_memory, misfit;
  EncodeScratch scratch{};
  std::vector<DeviceMemory> spare_rows;  // of dropped sequences
};

}  // namespace qjl
