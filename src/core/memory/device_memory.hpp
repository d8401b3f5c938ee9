// Memory of a device, owned; and the device that a thread's calls go to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "backend.hpp"
#include "qjl/device.hpp"

namespace qjl {

// The caller's device comes back when the scope ends. Nothing on the host.
class DeviceScope {
 public:
  DeviceScope(const Backend& backend, Device device)
      : select_(backend.select), before_(select_ == nullptr ? 0 : select_(device.index)) {}
  ~DeviceScope() {
    if (select_ != nullptr) select_(before_);
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int (*select_)(int);
  int before_;
};

class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(const Backend& backend, std::int64_t bytes) : backend_(&backend), bytes_(bytes) {
    if (bytes > 0) data_ = static_cast<std::uint8_t*>(backend.allocate(bytes));
  }
  ~DeviceMemory() {
    if (data_ != nullptr) backend_->release(data_);
  }
  DeviceMemory(DeviceMemory&& other) noexcept
      : backend_(other.backend_), data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(backend_, other.backend_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  std::uint8_t* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }

  // At least `bytes`, not kept when it must grow; release waits for whoever still reads the old memory.
  void grow(const Backend& backend, std::int64_t bytes) {
    if (bytes > bytes_) *this = DeviceMemory(backend, std::max(bytes, 2 * bytes_));
  }

 private:
  const Backend* backend_ = nullptr;
  std::uint8_t* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

// Takes parts of 256 bytes' alignment one after the other; base null only counts.
class DeviceCarver {
 public:
  explicit DeviceCarver(std::uint8_t* base) : base_(base) {}
  template <typename T>
  T* take(std::int64_t count) {
    const std::int64_t at = end_;
    end_ = layout::round_up(end_ + count * static_cast<std::int64_t>(sizeof(T)), 4 * layout::kLineBytes);
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + at);
  }
  std::int64_t bytes() const { return end_; }

 private:
  std::uint8_t* base_;
  std::int64_t end_ = 0;
};

}  // namespace qjl
