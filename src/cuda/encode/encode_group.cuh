// Codes sixteen vectors in any rotated code, a byte a coordinate: what the CPU does in encode/tokens.hpp, encode/levels.hpp
// and encode/signs.hpp, with the same IEEE operations and whole numbers in the same order.
//
//   x      brought between 1 and 2 in its largest coordinate by a power of two
//   y_f    = P_f x in one or two frames, d P_f x for Hadamard frames
//   codes  nearest levels of the best of some scales (l4, l8, l16), signs (s1), or signs of two frames by annealing (s2)
//   scale  |x|^2 / <x, r>, 0 for x = 0 and for tokens that are not coded, whose codes are 0
#pragma once

#include "code_levels.cuh"
#include "code_signs.cuh"
#include "group.cuh"

namespace qjl::cuda {

// What a group needs of shared memory, for head_dim up to kDim.
template <int kDim>
struct GroupStorage {
  union {
    float x[kDim * kGroup];             // the vectors, used up by their rotation
    std::int16_t field[kDim * kGroup];  // s2
  };
  float y[2 * kDim * kGroup];
  std::int16_t target[2 * kDim * kGroup];  // s2
  std::int16_t soft[kDim * kGroup];        // s2, dense frames
  alignas(16) std::uint8_t codes[2 * kDim * kGroup];
  float chains[kChains * kGroup];
  float largest[kDim];  // of each part: threads = kDim
  float cosine[kMaxScaleCandidates * kGroup];
};

// The frames of one group of tokens.
struct GroupFrames {
  Frame frame[2];
  int parts;
  const std::int16_t* cross;
  bool strided;  // sums of levels run over channels 16 apart (values), not over neighbours (keys)
};

__device__ inline float safe_divide(float a, float b) { return b > 0.0f ? a / b : 0.0f; }

// x <- x * 2^-e / gain with 2^e <= max |x| < 2^(e+1); returns 2^e. In step at both ends.
template <int kDim>
__device__ inline float normalise(const Share& me, GroupStorage<kDim>& shared, int d, float gain) {
  __syncthreads();
  float largest = 0.0f;
  each_coordinate(me, d, [&](int c) { largest = fmaxf(largest, fabsf(shared.x[c * kGroup + me.lane])); });
  shared.largest[threadIdx.x] = largest;
  __syncthreads();
  for (int part = 0; part < me.parts; ++part) largest = fmaxf(largest, shared.largest[part * kGroup + me.lane]);
  const float bounded = fmaxf(fminf(largest, 0x1p126f), 0x1p-126f);
  const std::uint32_t exponent = __float_as_uint(bounded) & 0x7f800000u;
  const float inverse = __uint_as_float((254u << 23) - exponent);
  each_coordinate(me, d, [&](int c) { shared.x[c * kGroup + me.lane] = shared.x[c * kGroup + me.lane] * inverse * (1.0f / gain); });
  __syncthreads();
  return __uint_as_float(exponent);
}

template <int kDim>
__device__ inline void rotate(const Share& me, GroupStorage<kDim>& shared, const GroupFrames& frames, int d) {
  const bool dense = frames.frame[0].dense != nullptr;
  if (!dense) hadamard_signed<kDim>(me, frames.frame[0].sign_in, shared.x, shared.x, d);
  for (int f = 0; f < frames.parts; ++f) {
    float* y = shared.y + f * d * kGroup;
    if (dense)
      multiply(me, frames.frame[f].dense, shared.x, y, d);
    else
      hadamard_signed<kDim>(me, frames.frame[f].sign_mid, shared.x, y, d);
  }
}

// Codes what stands in shared.x; codes [coordinates][16] stand in shared.codes. Returns the scale of this lane's vector. `live`:
// the token is coded. In step at both ends.
template <int kDim>
__device__ inline float encode_group(const Share& me, GroupStorage<kDim>& shared, const PageBooks& books, const GroupFrames& frames,
                                     int d, bool live) {
  const bool hadamard_frames = frames.frame[0].dense == nullptr;
  const float magnitude = normalise(me, shared, d, hadamard_frames ? static_cast<float>(d) : 1.0f);
  rotate(me, shared, frames, d);
  const float* y = shared.y + me.lane;
  const float squared = sum_of(me, shared.chains, d, [&](int c) { return y[c * kGroup] * y[c * kGroup]; });
  const float to_unit = safe_divide(sqrtf(static_cast<float>(d)), sqrtf(squared));
  float dot;
  if (frames.parts == 2) {
    const SignJob job{frames.frame[0].sign_mid, frames.frame[1].sign_mid, hadamard_frames ? nullptr : frames.cross, d};
    dot = anneal_signs<kDim>(me, job, to_unit, {shared.y, shared.target, shared.field, shared.soft, shared.codes, shared.chains});
  } else if (books.levels == 1) {
    dot = take_signs(me, shared.y, d, shared.codes, shared.chains);
  } else {
    dot = take_levels(me, books, {shared.y, d, to_unit, frames.strided}, {shared.codes, shared.cosine, shared.chains});
  }
  const float scale = live ? safe_divide(squared, dot) : 0.0f;
  if (!(scale > 0.0f)) each_coordinate(me, frames.parts * d, [&](int c) { shared.codes[c * kGroup + me.lane] = 0; });
  __syncthreads();
  return scale * magnitude;
}

}  // namespace qjl::cuda
