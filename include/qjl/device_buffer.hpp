// DeviceBuffer: memory for tensors of a cache on a GPU, for callers that have no run time of their own there.
#pragma once

#include <cstdint>
#include <memory>

#include "qjl/device.hpp"

namespace qjl {

class DeviceBuffer {
 public:
  DeviceBuffer();  // of no bytes
  // Errors: unsupported when there is no such device, or no room on it; invalid_argument on the host, which needs none.
  DeviceBuffer(Device device, std::int64_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&&) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&&) noexcept;

  std::uint8_t* data() const;  // device memory
  std::int64_t bytes() const;

  // Copy `bytes` from byte `at` on, or to there, from or to host memory; return when the copy is done. Errors: invalid_argument
  // beyond the buffer, or on a queue of the host.
  void write(std::int64_t at, const void* from, std::int64_t bytes, Queue queue = {});
  void read(std::int64_t at, void* to, std::int64_t bytes, Queue queue = {}) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qjl
