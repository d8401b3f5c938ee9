// The CUDA back end of a build without CUDA: every answer is the reason.
#include "devices.hpp"

namespace qjl::cuda {

CudaDevices devices() { return {{}, "found a build without CUDA, wanted one made with QJL_CUDA=ON and nvcc 13"}; }

}  // namespace qjl::cuda
