// The rows of one layer, all items one after the other, where the cache is: on the host they stand in the pass's own memory; to a GPU
// queries, keys and values are brought, and what attention gives is taken back.
#pragma once

#include <cstdint>

#include "qjl/device_buffer.hpp"

namespace qjl::engine {

struct LayerRows {
  float *query, *key, *value, *attended;  // [rows, width] each
  float* lse = nullptr;                   // [rows, heads], item by item; null where nobody asks
};

struct LayerNumbers {
  std::int64_t query, key, lse;  // of queries (and outputs), of keys (and values), of lse
};

class RowsOnDevice {
 public:
  // Copies query, key and value of `host`; returns where all stand.
  LayerRows bring(Device device, const LayerRows& host, const LayerNumbers& numbers);
  // Waits, and fills host.attended and host.lse.
  void take_back(const LayerRows& host, const LayerNumbers& numbers) const;
  std::int64_t bytes() const { return buffer_.bytes(); }

 private:
  DeviceBuffer buffer_;  // queries, outputs, keys, values, lse
};

}  // namespace qjl::engine
