// Asks the driver for its devices. Without a driver the run time answers with an error, and nothing is loaded.
#include <cuda_runtime.h>

#include "devices.hpp"

namespace qjl::cuda {
namespace {

constexpr int kLeastMajor = 8;  // sm_80: asynchronous copies, bf16 products

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

}  // namespace

CudaDevices devices() {
  int count = 0, driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    return {{}, "found no CUDA driver, wanted one for CUDA " + version(CUDART_VERSION)};
  }
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
    return {{},
            "found the driver of CUDA " + version(driver) + " (" + cudaGetErrorString(error) + "), wanted one for CUDA " +
                version(CUDART_VERSION)};
  }
  CudaDevices found{{}, "found no CUDA device"};
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    if (properties.major < kLeastMajor) {
      found.absence += std::string(", but ") + properties.name;
      continue;
    }
    found.devices.push_back({i, properties.name, properties.major, properties.minor, properties.multiProcessorCount,
                             static_cast<std::int64_t>(properties.totalGlobalMem)});
  }
  found.absence = found.devices.empty() ? found.absence + ", wanted one of compute capability 8.0 or later" : "";
  return found;
}

}  // namespace qjl::cuda
