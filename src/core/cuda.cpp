// The door to the CUDA back end's devices.
#include "qjl/cuda.hpp"

#include "devices.hpp"

namespace qjl {

CudaDevices cuda_devices() { return cuda::devices(); }

}  // namespace qjl
