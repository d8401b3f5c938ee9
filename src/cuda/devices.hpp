// What the build and the machine have of CUDA. devices.cu answers with CUDA, none.cpp without.
#pragma once

#include "qjl/device.hpp"

namespace qjl::cuda {

CudaDevices devices();

}  // namespace qjl::cuda
