// The exact rival: one decode step over bf16 keys and values, split over tokens, all query heads of a kv head in one block.
//
//   block   a kv head of a sequence, and a share of its tokens; a warp takes 8 tokens at a time (4 with 8 query heads)
//   scores  four lanes a token (or eight), 32 (or 16) channels each        values  a lane has 4 of the 128 channels
//   states of warps and of blocks merge by their maxima
//
// Keys and values are read once, in pieces of 16 and 8 bytes. head_dim 128, up to 8 query heads for each kv head.
#include "gpu.hpp"

namespace qjl::bench {
namespace {

constexpr int kDim = 128, kWarps = 8, kMaxGroup = 8;
constexpr int kBlocksWanted = 1024;  // fill any GPU

// Lanes that share a token, so that the queries of all heads stay in registers.
template <int kGroup>
constexpr int kLanes = kGroup > 4 ? 8 : 4;
template <int kGroup>
constexpr int kChannels = kDim / kLanes<kGroup>;

__device__ float low(unsigned pair) { return __uint_as_float(pair << 16); }
__device__ float high(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }

struct Shared {
  float max[kWarps][kMaxGroup], sum[kWarps][kMaxGroup];
  float out[kWarps][kMaxGroup][kDim];
};

// This lane's channels of a token, summed over the lanes that share it.
template <int kGroup>
__device__ void scores_of(const uint4* keys, const float (&query)[kGroup][kChannels<kGroup>], float (&score)[kGroup]) {
  for (float& s : score) s = 0.0f;
#pragma unroll
  for (int part = 0; part < kChannels<kGroup> / 8; ++part) {
    const uint4 k = __ldg(keys + part);
    const unsigned pairs[4] = {k.x, k.y, k.z, k.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int g = 0; g < kGroup; ++g) {
        score[g] = fmaf(low(pairs[i]), query[g][part * 8 + 2 * i], score[g]);
        score[g] = fmaf(high(pairs[i]), query[g][part * 8 + 2 * i + 1], score[g]);
      }
    }
  }
#pragma unroll
  for (int g = 0; g < kGroup; ++g) {
    for (int apart = 1; apart < kLanes<kGroup>; apart *= 2) score[g] += __shfl_xor_sync(~0u, score[g], apart);
  }
}

// The block's state: out, maximum and sum of each query head.
template <int kGroup>
__device__ void merge_warps(const Shared& shared, float* result) {
  for (int i = threadIdx.x; i < kGroup * kDim; i += kWarps * 32) {
    const int g = i / kDim;
    float most = -1e30f, all = 0.0f, weighted = 0.0f;
    for (int w = 0; w < kWarps; ++w) most = fmaxf(most, shared.max[w][g]);
    for (int w = 0; w < kWarps; ++w) {
      const float factor = exp2f(shared.max[w][g] - most);
      all += factor * shared.sum[w][g];
      weighted += factor * shared.out[w][g][i % kDim];
    }
    result[g * (kDim + 2) + i % kDim] = weighted;
    result[g * (kDim + 2) + kDim] = most;
    result[g * (kDim + 2) + kDim + 1] = all;
  }
}

template <int kGroup>
__global__ void __launch_bounds__(kWarps * 32) exact_kernel(ExactCase c, int splits) {
  constexpr int kShare = kLanes<kGroup>, kOwn = kChannels<kGroup>, kStep = 32 / kShare;
  extern __shared__ unsigned char memory[];
  auto& shared = *reinterpret_cast<Shared*>(memory);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, head = blockIdx.x, split = blockIdx.y;
  const std::int64_t first = c.tokens * split / splits, end = c.tokens * (split + 1) / splits;
  const std::uint16_t *keys = c.keys + head * c.tokens * kDim, *values = c.values + head * c.tokens * kDim;
  float query[kGroup][kOwn], out[kGroup][4] = {}, max[kGroup], sum[kGroup];
#pragma unroll
  for (int g = 0; g < kGroup; ++g) {
    max[g] = -1e30f;
    sum[g] = 0.0f;
    const float* q = c.queries + (std::int64_t{head} * kGroup + g) * kDim + lane % kShare * kOwn;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) query[g][i] = q[i] * 0.127517432f;  // log2(e) / sqrt(128)
  }
  for (std::int64_t t = first + warp * kStep; t < end; t += kWarps * kStep) {
    const std::int64_t mine = t + lane / kShare;
    float score[kGroup];
    scores_of<kGroup>(reinterpret_cast<const uint4*>(keys + (mine < end ? mine : end - 1) * kDim + lane % kShare * kOwn), query,
                      score);
    uint2 v[kStep];
#pragma unroll
    for (int i = 0; i < kStep; ++i)
      v[i] = __ldg(reinterpret_cast<const uint2*>(values + (t + i < end ? t + i : end - 1) * kDim) + lane);
#pragma unroll
    for (int g = 0; g < kGroup; ++g) {
      if (mine >= end) score[g] = -1e30f;
      float most = score[g];
      for (int apart = kShare; apart < 32; apart *= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, apart));
      const float now = fmaxf(max[g], most), old = exp2f(max[g] - now), weight = mine < end ? exp2f(score[g] - now) : 0.0f;
      max[g] = now;
      float all = weight;
      for (int apart = kShare; apart < 32; apart *= 2) all += __shfl_xor_sync(~0u, all, apart);
      sum[g] = sum[g] * old + all;
      for (float& o : out[g]) o *= old;
#pragma unroll
      for (int i = 0; i < kStep; ++i) {
        const float w = __shfl_sync(~0u, weight, kShare * i);
        out[g][0] = fmaf(w, low(v[i].x), out[g][0]);
        out[g][1] = fmaf(w, high(v[i].x), out[g][1]);
        out[g][2] = fmaf(w, low(v[i].y), out[g][2]);
        out[g][3] = fmaf(w, high(v[i].y), out[g][3]);
      }
    }
  }
#pragma unroll
  for (int g = 0; g < kGroup; ++g) {
    if (lane == 0) shared.max[warp][g] = max[g], shared.sum[warp][g] = sum[g];
    for (int i = 0; i < 4; ++i) shared.out[warp][g][4 * lane + i] = out[g][i];
  }
  __syncthreads();
  merge_warps<kGroup>(shared, c.scratch + (std::int64_t{head} * splits + split) * kGroup * (kDim + 2));
}

__global__ void merge_kernel(ExactCase c, int splits) {
  const std::int64_t row = blockIdx.x, head = row / c.group;
  const int g = static_cast<int>(row % c.group), channel = threadIdx.x;
  const auto at = [&](int split) { return c.scratch + ((head * splits + split) * c.group + g) * (kDim + 2); };
  float most = -1e30f, all = 0.0f, weighted = 0.0f;
  for (int s = 0; s < splits; ++s) most = fmaxf(most, at(s)[kDim]);
  for (int s = 0; s < splits; ++s) {
    const float factor = exp2f(at(s)[kDim] - most);
    all += factor * at(s)[kDim + 1];
    weighted += factor * at(s)[channel];
  }
  c.out[row * kDim + channel] = weighted / all;
}

__global__ void fill_kernel(std::uint16_t* out, std::int64_t count, std::uint64_t seed) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += std::int64_t{gridDim.x} * blockDim.x) {
    std::uint64_t x = (static_cast<std::uint64_t>(i) + seed) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    float sum = -2.0f;  // four uniform numbers: normal enough
    for (int k = 0; k < 4; ++k) sum += static_cast<float>(x >> 16 * k & 0xffffu) * 0x1p-16f;
    out[i] = static_cast<std::uint16_t>(__float_as_uint(sum * 1.7320508f) >> 16);
  }
}

int splits_of(const ExactCase& c) {
  const std::int64_t most = std::max<std::int64_t>(1, c.tokens / 256), wanted = std::max(1, kBlocksWanted / (c.batch * c.kv_heads));
  return static_cast<int>(std::min(most, wanted));
}

template <int kGroup>
void launch_exact(const ExactCase& c, cudaStream_t stream) {
  check(cudaFuncSetAttribute(exact_kernel<kGroup>, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(Shared)), "exact");
  const dim3 grid(static_cast<unsigned>(c.batch * c.kv_heads), static_cast<unsigned>(splits_of(c)));
  exact_kernel<kGroup><<<grid, kWarps * 32, sizeof(Shared), stream>>>(c, splits_of(c));
  merge_kernel<<<static_cast<unsigned>(c.batch * c.kv_heads * c.group), kDim, 0, stream>>>(c, splits_of(c));
  check(cudaGetLastError(), "exact");
}

}  // namespace

std::int64_t exact_scratch_floats(const ExactCase& c) {
  return std::int64_t{c.batch} * c.kv_heads * splits_of(c) * c.group * (kDim + 2);
}
void attend_exact(const ExactCase& c, cudaStream_t stream) {
  switch (c.group) {
    case 1: return launch_exact<1>(c, stream);
    case 4: return launch_exact<4>(c, stream);
    default: return launch_exact<8>(c, stream);
  }
}
void fill_normal(std::uint16_t* bf16, std::int64_t count, std::uint64_t seed) {
  fill_kernel<<<1024, 256>>>(bf16, count, seed);
  check(cudaDeviceSynchronize(), "fill");
}

}  // namespace qjl::bench
