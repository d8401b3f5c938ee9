// The GPUs that the CUDA back end can use, and why there are none. A library with CUDA loads and works without a driver; what needs
// a device then throws Error of kind `unsupported` that says what was found and what was wanted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace qjl {

struct CudaDevice {
  int index = 0;  // of the CUDA run time
  std::string name;
  int major = 0, minor = 0;  // compute capability: 9, 0 is sm_90
  int multiprocessors = 0;
  std::int64_t memory_bytes = 0;
};

struct CudaDevices {
  std::vector<CudaDevice> devices;
  std::string absence;  // why `devices` is empty: what was found and what was wanted
};

// Cost: the driver starts at the first call.
CudaDevices cuda_devices();

}  // namespace qjl
