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

// A verb whose stream is a CUDA stream, as a verb whose stream is plain.
template <typename Args, void (*kVerb)(const Args&, cudaStream_t)>
void on_stream(const Args& args, DeviceStream stream) {
  kVerb(args, static_cast<cudaStream_t>(stream));
}

const DeviceBackend kVerbs{
    "cuda",
    [](int device) {
      int before = 0;
      check(cudaGetDevice(&before), "cuda");
      if (before != device) check(cudaSetDevice(device), "cuda");
      return before;
    },
    [](int device) {
      int count = 0;
      check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "cuda");
      return count;
    },
    holder,
    pin,
    [](void* at) { (void)cudaHostUnregister(at); },
    allocate,
    [](void* memory) { (void)cudaFree(memory); },
    [](void* to, const void* from, std::int64_t bytes, DeviceStream stream) {
      if (bytes == 0) return;
      check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault, static_cast<cudaStream_t>(stream)),
            "copy");
    },
    [](void* at, std::int64_t bytes, DeviceStream stream) {
      check(cudaMemsetAsync(at, 0, static_cast<std::size_t>(bytes), static_cast<cudaStream_t>(stream)), "clear");
    },
    [](DeviceStream stream) { check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)), "wait"); },
    on_stream<CopyRowsArgs, copy_rows>,
    on_stream<PlacePagesArgs, place_pages>,
    on_stream<EncodeArgs, encode_keys>,
    on_stream<EncodeArgs, encode_values>,
    on_stream<ProjectArgs, project_query>,
    on_stream<ScoreArgs, score>,
    on_stream<AttendBatch, attend>,
    on_stream<CombineBatch, combine>,
    on_stream<DecodeArgs, decode>,
};

}  // namespace

const DeviceBackend& backend(int device) {
  const CudaDevices found = devices();
  std::string known;
  for (const CudaDevice& each : found.devices) {
    if (each.index == device) return kVerbs;
    known += " " + std::to_string(each.index);
  }
  const std::string absence = known.empty() ? found.absence : "found the devices" + known + ", wanted " + std::to_string(device);
  throw Error(ErrorKind::unsupported, "[cuda] " + absence);
}

}  // namespace qjl::cuda
