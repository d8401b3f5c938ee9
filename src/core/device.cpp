// Names of devices, and the door to those of the CUDA back end.
#include "qjl/device.hpp"

#include <charconv>

#include "devices.hpp"
#include "fail.hpp"

namespace qjl {

Device device_of(std::string_view name) {
  if (name == "cpu") return Device::cpu();
  if (name == "cuda") return Device::cuda();
  constexpr std::string_view kCuda = "cuda:";
  int index = -1;
  const char* end = name.data() + name.size();
  if (name.starts_with(kCuda)) {
    const auto read = std::from_chars(name.data() + kCuda.size(), end, index);
    if (read.ec != std::errc() || read.ptr != end) index = -1;
  }
  require(index >= 0, "device", "found \"", name, "\", wanted cpu, cuda or cuda:N");
  return Device::cuda(index);
}

std::string device_name(Device device) { return device.kind == Device::Kind::cpu ? "cpu" : "cuda:" + std::to_string(device.index); }

CudaDevices cuda_devices() { return cuda::devices(); }

}  // namespace qjl
