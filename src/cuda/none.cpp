// The CUDA back end of a build without CUDA: every answer is the reason.
#include "cuda_backend.hpp"
#include "devices.hpp"
#include "qjl/error.hpp"

namespace qjl::cuda {

CudaDevices devices() { return {{}, "found a build without CUDA, wanted one made with QJL_CUDA=ON and nvcc 13"}; }

const Backend& backend(int) { throw Error(ErrorKind::unsupported, "[cuda] " + devices().absence); }

}  // namespace qjl::cuda
