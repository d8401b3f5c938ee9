// DeviceBuffer over the back end's memory.
#include "qjl/device_buffer.hpp"

#include "cuda_backend.hpp"
#include "device_memory.hpp"
#include "fail.hpp"
#include "queue.hpp"

namespace qjl {

struct DeviceBuffer::State {
  const Backend& backend;
  Device device;
  DeviceMemory memory;
};

namespace {

DeviceMemory take(const Backend& backend, Device device, std::int64_t bytes) {
  const DeviceScope scope(backend, device);
  return {backend, bytes};
}

}  // namespace

DeviceBuffer::DeviceBuffer() = default;
DeviceBuffer::~DeviceBuffer() = default;
DeviceBuffer::DeviceBuffer(DeviceBuffer&&) noexcept = default;
DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&&) noexcept = default;

DeviceBuffer::DeviceBuffer(Device device, std::int64_t bytes) {
  require(device.kind == Device::Kind::cuda, "device buffer", "found the device ", device_name(device), ", wanted a GPU");
  require(bytes >= 0, "device buffer", "found ", bytes, " bytes, wanted 0 or more");
  const Backend& backend = cuda::backend(device.index);
  state_ = std::make_unique<State>(State{backend, device, take(backend, device, bytes)});
}

std::uint8_t* DeviceBuffer::data() const { return state_ ? state_->memory.data() : nullptr; }
std::int64_t DeviceBuffer::bytes() const { return state_ ? state_->memory.bytes() : 0; }

void DeviceBuffer::write(std::int64_t at, const void* from, std::int64_t bytes, Queue queue) {
  require(at >= 0 && bytes >= 0 && at + bytes <= this->bytes(), "device buffer", "found bytes ", at, " to ", at + bytes,
          " to write, wanted 0 to ", this->bytes());
  if (bytes == 0) return;
  const DeviceStream stream = stream_of(queue, state_->device, "device buffer");
  const DeviceScope scope(state_->backend, state_->device);
  state_->backend.copy(data() + at, from, bytes, stream);
  state_->backend.wait(stream);
}

void DeviceBuffer::read(std::int64_t at, void* to, std::int64_t bytes, Queue queue) const {
  require(at >= 0 && bytes >= 0 && at + bytes <= this->bytes(), "device buffer", "found bytes ", at, " to ", at + bytes,
          " to read, wanted 0 to ", this->bytes());
  if (bytes == 0) return;
  const DeviceStream stream = stream_of(queue, state_->device, "device buffer");
  const DeviceScope scope(state_->backend, state_->device);
  state_->backend.copy(to, data() + at, bytes, stream);
  state_->backend.wait(stream);
}

}  // namespace qjl
