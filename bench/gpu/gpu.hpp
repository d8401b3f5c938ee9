// What the parts of the GPU benchmark share: device memory, times, and the cases.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace qjl::bench {

using Json = nlohmann::ordered_json;

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

template <typename T>
class DeviceNumbers {
 public:
  explicit DeviceNumbers(std::size_t count) : count_(count) {
    check(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)), "device memory");
  }
  ~DeviceNumbers() { cudaFree(data_); }
  DeviceNumbers(const DeviceNumbers&) = delete;
  DeviceNumbers& operator=(const DeviceNumbers&) = delete;

  T* data() const { return data_; }
  std::vector<T> host() const {
    std::vector<T> numbers(count_);
    check(cudaMemcpy(numbers.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "copy");
    return numbers;
  }

 private:
  std::size_t count_;
  T* data_ = nullptr;
};

// Median of times in microseconds, each run alone between two events; `before` runs untimed ahead of each (a cold cache).
double median_us(int rounds, const std::function<void()>& before, const std::function<void()>& run);

Json first_hour();                                                              // rates.cu
double copy_bytes_per_second();                                                 // main.cpp: read plus written
void fill_normal(std::uint16_t* bf16, std::int64_t count, std::uint64_t seed);  // exact.cu

// Decode attention over exact bf16 keys and values [kv_heads, tokens, 128] of `batch` sequences, queries fp32 [batch, kv_heads *
// group, 128]: the rival in the same program. scratch_floats() of working space.
struct ExactCase {
  const std::uint16_t *keys, *values;
  const float* queries;
  float *scratch, *out;
  int batch, kv_heads, group;
  std::int64_t tokens;
};
std::int64_t exact_scratch_floats(const ExactCase& shape);
void attend_exact(const ExactCase& shape, cudaStream_t stream);

}  // namespace qjl::bench
