// The first questions to a GPU: how many matrix products an SM issues a clock, and whether fp16 subnormals pass through them
// exactly.
//
//   rate = warps * products / (clocks of an SM), a warp's products in 8 independent chains
#include <cstring>

#include "gpu.hpp"
#include "mma.cuh"

namespace qjl::bench {
namespace {

constexpr int kChains = 8, kRounds = 512, kWarps = 16;
enum class Product { bits, bytes };

template <Product kProduct>
__global__ void rate_kernel(long long* clocks, int* sink) {
  cuda::Sums sums[kChains] = {};
  const unsigned lane = threadIdx.x;
  const cuda::FragmentA a = {lane, lane * 3, lane * 5, lane * 7};
  const cuda::FragmentB b = {lane * 11, lane * 13};
  __syncthreads();
  const long long start = clock64();
  for (int round = 0; round < kRounds; ++round) {
#pragma unroll
    for (auto& sum : sums) kProduct == Product::bits ? cuda::multiply_bits(sum, a, b, sum) : cuda::multiply_signed(sum, a, b);
  }
  __syncthreads();
  if (threadIdx.x == 0) clocks[blockIdx.x] = clock64() - start;
  int all = 0;
  for (const auto& sum : sums) all += sum[0] + sum[1] + sum[2] + sum[3];
  if (all == 12345) *sink = all;  // so that nothing is left out
}

template <Product kProduct>
double products_per_clock() {
  DeviceNumbers<long long> clocks(1);
  DeviceNumbers<int> sink(1);
  for (int again = 0; again < 2; ++again) rate_kernel<kProduct><<<1, kWarps * 32>>>(clocks.data(), sink.data());
  check(cudaDeviceSynchronize(), "products a clock");
  return static_cast<double>(kWarps) * kRounds * kChains / static_cast<double>(clocks.host()[0]);
}

// D = A B with A the subnormals 2^-24 (4^j code) in every place and B one 2^13: the sum over K = 16 must be 16 * 2^-24 * bits *
// 2^13.
__global__ void subnormal_kernel(float* out) {
  const unsigned bits = blockIdx.x + 1;                   // 1 .. 1023: all subnormals
  const unsigned a = bits | bits << 16, b = 0x70007000u;  // 2^13
  float d[4] = {};
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %4, %4, %4}, {%5, %5}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a), "r"(b));
  if (threadIdx.x == 0) out[blockIdx.x] = d[0];
}

}  // namespace

Json first_hour() {
  constexpr int kSubnormals = 1023;
  DeviceNumbers<float> sums(kSubnormals);
  subnormal_kernel<<<kSubnormals, 32>>>(sums.data());
  int wrong = 0;
  const std::vector<float> found = sums.host();
  for (int i = 0; i < kSubnormals; ++i)
    wrong += found[static_cast<std::size_t>(i)] != 16.0f * 0x1p-11f * static_cast<float>(i + 1) ? 1 : 0;
  return {{"case", "first hour"},
          {"bit_products_per_clock_and_sm", products_per_clock<Product::bits>()},
          {"byte_products_per_clock_and_sm", products_per_clock<Product::bytes>()},
          {"fp16_subnormals_wrong", wrong},
          {"fp16_subnormals", kSubnormals}};
}

}  // namespace qjl::bench
