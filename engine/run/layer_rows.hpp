// The rows of one layer, all items one after the other, where the cache is: on the host they stand in the pass's own memory; to a GPU
// queries, keys and values are brought, and what attention gives is taken back.
#pragma once

#include <cstdint>

#include "qjl/device_buffer.hpp"

namespace qjl::engine {

struct LayerRows {
  float *query, *key, *value, *attended;  // [rows, width] each
};

class RowsOnDevice {
 public:
  // Copies query, key and value of `host`; returns where all four stand. Numbers: of queries (and outputs) and of keys (and values).
  LayerRows bring(Device device, const LayerRows& host, std::int64_t query_numbers, std::int64_t key_numbers);
  // Waits, and fills host.attended.
  void take_back(const LayerRows& host, std::int64_t query_numbers) const;
  std::int64_t bytes() const { return buffer_.bytes(); }

 private:
  DeviceBuffer buffer_;  // queries, outputs, keys, values
};

}  // namespace qjl::engine
