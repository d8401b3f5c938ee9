// The table of verbs, and memory.
#include "cuda_backend.hpp"

#include <string>

#include "devices.hpp"
#include "launch.hpp"
#include "launcher.cuh"

namespace qjl::cuda {
namespace {

void* allocate(std::int64_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, static_cast<std::size_t>(bytes));
  if (status == cudaSuccess) return memory;
  (void)cudaGetLastError();
  throw Error(ErrorKind::unsupported, "[cuda] found no room for " + std::to_string(bytes) + " bytes on the device (" +
                                          cudaGetErrorString(status) + "), wanted them");
}

int holder(const void* at) {
  cudaPointerAttributes found{};
  check(cudaPointerGetAttributes(&found, at), "cuda");
  if (found.type == cudaMemoryTypeDevice) return found.device;
  return found.type == cudaMemoryTypeUnregistered ? kHostMemory : kAnyDevice;
}

void pin(void* at, std::int64_t bytes) {
  const cudaError_t status = cudaHostRegister(at, static_cast<std::size_t>(bytes), cudaHostRegisterPortable);
  if (status == cudaSuccess) return;
  (void)cudaGetLastError();
  throw Error(ErrorKind::unsupported, "[cuda] found " + std::to_string(bytes) +
                                          " bytes of the host that the driver does not pin (" + cudaGetErrorString(status) +
                                          "), wanted them pinned");
}

int select_device(int device) {
  int before = 0;
  check(cudaGetDevice(&before), "cuda");
  if (before != device) check(cudaSetDevice(device), "cuda");
  return before;
}

int multiprocessors(int device) {
  int count = 0;
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "cuda");
  return count;
}

void copy(void* to, const void* from, std::int64_t bytes, DeviceStream stream) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault, static_cast<cudaStream_t>(stream)), "copy");
}

void clear(void* at, std::int64_t bytes, DeviceStream stream) {
  check(cudaMemsetAsync(at, 0, static_cast<std::size_t>(bytes), static_cast<cudaStream_t>(stream)), "clear");
}

void wait(DeviceStream stream) { check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)), "wait"); }

const Backend kTable{.name = "cuda",
                     .encode_keys = encode_keys,
                     .encode_values = encode_values,
                     .project_query = project_query,
                     .score = score,
                     .decode = decode,
                     .attend_batch = attend,
                     .combine = combine,
                     .copy_rows = copy_rows,
                     .place_pages = place_pages,
                     .select = select_device,
                     .multiprocessors = multiprocessors,
                     .holder = holder,
                     .pin = pin,
                     .unpin = [](void* at) { (void)cudaHostUnregister(at); },
                     .allocate = allocate,
                     .release = [](void* memory) { (void)cudaFree(memory); },
                     .copy = copy,
                     .clear = clear,
                     .wait = wait};

}  // namespace

const Backend& backend(int device) {
  const CudaDevices found = devices();
  std::string known;
  for (const CudaDevice& each : found.devices) {
    if (each.index == device) return kTable;
    known += " " + std::to_string(each.index);
  }
  const std::string absence = known.empty() ? found.absence : "found the devices" + known + ", wanted " + std::to_string(device);
  throw Error(ErrorKind::unsupported, "[cuda] " + absence);
}

}  // namespace qjl::cuda
