// CUDA's run time on host memory: a device is always there, and everything is done when a call returns. Part of
// simt.hpp.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>

using cudaStream_t = struct SimtStream*;
using cudaEvent_t = struct SimtEvent*;
enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2, cudaErrorInvalidValue = 1 };
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};

inline const char* cudaGetErrorString(cudaError_t error) { return error == cudaSuccess ? "no error" : "error"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

namespace qjl::simt {

// What the host asked for since a test set it to zero, and how much of it on another stream than `stream`.
struct Calls {
  int allocations = 0, copies = 0, waits = 0, launches = 0;
  cudaStream_t stream = nullptr;
  int on_other_streams = 0;

  void count(int& kind, cudaStream_t on) {
    ++kind;
    on_other_streams += on != stream ? 1 : 0;
  }
};
inline Calls calls;

// Device memory, of the device that is the current one. Blocks of more than 256 MB are address space that comes as it is written;
// others start as noise. While it is hidden, what was allocated since then can be touched by kernels and copies alone: the host
// falls over.
inline int current_device = 0;
void* allocate(std::size_t bytes);
int holder(const void* at);  // the device whose memory that is, or -1

// Copies as a stream does them. While they are put off, those between device memory and pinned memory wait for the next kernel,
// copy of other memory or wait of the host.
void copy(void* to, const void* from, std::size_t bytes);
void put_off_copies(bool put_off);
void finish_copies();
void pin(void* at, std::size_t bytes);
void unpin(void* at);
void release(void* at);
void hide_from_host(bool hidden);

// Between these two a kernel or a copy runs.
class DeviceAtWork {
 public:
  DeviceAtWork();
  ~DeviceAtWork();
  DeviceAtWork(const DeviceAtWork&) = delete;
  DeviceAtWork& operator=(const DeviceAtWork&) = delete;
};

}  // namespace qjl::simt

template <typename T>
cudaError_t cudaMalloc(T** at, std::size_t bytes) {
  ++qjl::simt::calls.allocations;
  *at = static_cast<T*>(qjl::simt::allocate(bytes));
  return *at == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
inline cudaError_t cudaFree(void* at) {
  ++qjl::simt::calls.allocations;
  qjl::simt::release(at);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream = nullptr) {
  qjl::simt::calls.count(qjl::simt::calls.copies, stream);
  qjl::simt::copy(to, from, bytes);
  return cudaSuccess;
}
enum { cudaHostRegisterPortable = 1 };
inline cudaError_t cudaHostRegister(void* at, std::size_t bytes, unsigned) {
  qjl::simt::pin(at, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaHostUnregister(void* at) {
  qjl::simt::unpin(at);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* at, int byte, std::size_t bytes, cudaStream_t stream = nullptr) {
  qjl::simt::calls.count(qjl::simt::calls.copies, stream);
  qjl::simt::finish_copies();
  const qjl::simt::DeviceAtWork work;
  std::memset(at, byte, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  static char streams[16];
  static int made = 0;
  *stream = reinterpret_cast<cudaStream_t>(&streams[made++ % 16]);
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  qjl::simt::calls.count(qjl::simt::calls.waits, stream);
  qjl::simt::finish_copies();
  return cudaSuccess;
}
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount, cudaDevAttrMaxSharedMemoryPerBlockOptin };
inline cudaError_t cudaDeviceGetAttribute(int* number, cudaDeviceAttr what, int) {
  *number = what == cudaDevAttrMultiProcessorCount ? 4 : 227 << 10;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int device) {
  qjl::simt::current_device = device;
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = qjl::simt::current_device;
  return cudaSuccess;
}
enum cudaMemoryType { cudaMemoryTypeUnregistered, cudaMemoryTypeHost, cudaMemoryTypeDevice, cudaMemoryTypeManaged };
struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
};
inline cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* found, const void* at) {
  found->device = qjl::simt::holder(at);
  found->type = found->device < 0 ? cudaMemoryTypeUnregistered : cudaMemoryTypeDevice;
  return cudaSuccess;
}

// ---- launches -------------------------------------------------------------------------------------------------------------
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int) {
  return cudaSuccess;
}
template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), Arguments&&... arguments) {
  qjl::simt::calls.count(qjl::simt::calls.launches, config->stream);
  qjl::simt::finish_copies();
  const qjl::simt::DeviceAtWork work;
  qjl::simt::run(config->gridDim, config->blockDim.x, config->dynamicSmemBytes, [&] { kernel(arguments...); });
  return cudaSuccess;
}
