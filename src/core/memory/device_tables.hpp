// A codec's constants in the memory of a device: the host's record with pointers to copies.
#pragma once

#include "device_memory.hpp"

namespace qjl {

class DeviceTables {
 public:
  // Copies on the default stream and waits.
  DeviceTables(const Backend& backend, const CodecTables& host);

  const CodecTables& tables() const { return tables_; }
  std::int64_t bytes() const { return memory_.bytes(); }

 private:
  CodecTables tables_;
  DeviceMemory memory_;
};

}  // namespace qjl
