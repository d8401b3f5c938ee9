// One way to launch a kernel: blocks, threads and shared memory in, an Error out when the driver refuses.
#pragma once

#include <cuda_runtime.h>

#include <string>
#include <utility>

#include "qjl/error.hpp"

namespace qjl::cuda {

struct Grid {
  unsigned blocks, blocks_y;
  unsigned threads;
  std::size_t shared_bytes;
};

inline void check(cudaError_t error, const char* verb) {
  if (error == cudaSuccess) return;
  throw Error(ErrorKind::unsupported, std::string("[") + verb + "] found \"" + cudaGetErrorString(error) +
                                          "\" from the CUDA driver, wanted the kernel to launch");
}

// What a block may have on the current device.
inline std::size_t most_shared_bytes() {
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device), "attend");
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "attend");
  return static_cast<std::size_t>(bytes);
}

template <typename... Parameters, typename... Arguments>
void launch(const char* verb, void (*kernel)(Parameters...), const Grid& grid, void* stream, Arguments&&... arguments) {
  if (grid.blocks == 0 || grid.blocks_y == 0) return;
  constexpr std::size_t kPlainBytes = 48 << 10;  // more must be asked for
  if (grid.shared_bytes > kPlainBytes) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(grid.shared_bytes)), verb);
  }
  cudaLaunchConfig_t config{};
  config.gridDim = {grid.blocks, grid.blocks_y, 1};
  config.blockDim = {grid.threads, 1, 1};
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...), verb);
}

}  // namespace qjl::cuda
