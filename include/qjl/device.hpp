// Where memory is and what work is put on: the host and its threads, or a GPU and a stream of it.
//
// A library with CUDA loads and works without a driver; what needs a GPU then throws Error of kind `unsupported` that says what was
// found and what was wanted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace qjl {

struct Device {
  enum class Kind : std::uint8_t { cpu, cuda };
  Kind kind = Kind::cpu;
  int index = 0;  // of the CUDA run time

  static constexpr Device cpu() { return {}; }
  static constexpr Device cuda(int index = 0) { return {Kind::cuda, index}; }
  bool operator==(const Device&) const = default;
};

class ThreadPool;

struct CudaStream {
  void* handle = nullptr;  // cudaStream_t; null: the device's default stream
};

// What work is put on: threads of the host, which end it before the call returns; or a stream of a GPU, which takes it and lets
// the call return at once. By default the calling thread alone, or the device's default stream.
class Queue {
 public:
  Queue() = default;
  Queue(ThreadPool& threads) : work_(&threads) {}  // lives longer than the call
  Queue(CudaStream stream) : work_(stream) {}

  // Null for a queue of another kind.
  ThreadPool* threads() const { return std::holds_alternative<ThreadPool*>(work_) ? std::get<ThreadPool*>(work_) : nullptr; }
  const CudaStream* stream() const { return std::get_if<CudaStream>(&work_); }

 private:
  std::variant<std::monostate, ThreadPool*, CudaStream> work_;
};

// "cpu", "cuda:0", "cuda:1" ...; `cuda` alone is read as cuda:0. Errors: invalid_argument on another name.
Device device_of(std::string_view name);
std::string device_name(Device device);

struct CudaDevice {
  int index = 0;
  std::string name;
  int major = 0, minor = 0;  // compute capability: 9, 0 is sm_90
  int multiprocessors = 0;
  std::int64_t memory_bytes = 0;
};

struct CudaDevices {
  std::vector<CudaDevice> devices;
  std::string absence;  // why `devices` is empty: what was found and what was wanted
};

// The GPUs that the CUDA back end can use. Cost: the driver starts at the first call.
CudaDevices cuda_devices();

}  // namespace qjl
