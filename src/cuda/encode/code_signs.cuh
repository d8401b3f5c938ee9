// Two-frame signs (s2) of sixteen vectors: the annealed alternation of the CPU's encode/signs.hpp, which says what it is.
//
//   m_2 = soft(T_2);  each round:  m_1 = soft(T_1 - u C m_2),  m_2 = soft(T_2 - u C^T m_1);   code_f = sign of the last round's f
//
// Whole numbers modulo 2^16 wherever the CPU has them; sums between two stores run in 32 bits, which is the same modulo 2^16.
#pragma once

#include "group.cuh"
#include "search_tables.hpp"

namespace qjl::cuda {

struct SignJob {
  const float *first_mid, *second_mid;  // D1_1, D1_2
  const std::int16_t* cross;            // dense frames: round(512 C); null for Hadamard frames
  int d;
};
struct SignSpace {
  const float* y;        // [2][d][16]
  std::int16_t* target;  // [2][d][16]
  std::int16_t* field;   // [d][16]
  std::int16_t* soft;    // [d][16], dense frames
  std::uint8_t* codes;   // [2][d][16]
  float* chains;
};

__device__ inline int soft(int f, int shift) {
  const int half = 1 << shift >> 1;
  const int rounded = static_cast<std::int16_t>(f + half) >> shift;
  return rounded > kSoftMax ? kSoftMax : rounded < -kSoftMax ? -kSoftMax : rounded;
}

// T_f from y.
__device__ inline void make_targets(const Share& me, const SignJob& job, float to_unit, const SignSpace& space) {
  const int unit = job.cross != nullptr ? kCrossUnit : job.d, rest = unit / kTargetSteps;
  const float steps = kSignScale * static_cast<float>(kSoftMax * kTargetSteps);
  const float limit = static_cast<float>((kTargetMax - 1) / rest);
  each_coordinate(me, 2 * job.d, [&](int c) {
    const float t = space.y[c * kGroup + me.lane] * (to_unit * steps);
    const float rounded = fmaxf(fminf(t, limit), -limit) + 0x1.8p23f;  // the integer is in the low bits
    const int number = static_cast<std::int16_t>(__float_as_uint(rounded) & 0xffffu);
    space.target[c * kGroup + me.lane] = static_cast<std::int16_t>(number * rest);
  });
}

// The levels of a Hadamard whose pairs are 16 or more apart, the flips, and the same levels again.
template <int kDim>
__device__ inline void cross_blocks(const Share& me, const SignJob& job, std::int16_t* field) {
  with_far_rows<kDim>(job.d, [&](auto rows) {
    constexpr int kRows = decltype(rows)::value;
    each_stretch<kRows, int>(me, job.d, kGroup, [&](int first, int(&v)[kRows]) {
#pragma unroll
      for (int k = 0; k < kRows; ++k) v[k] = field[(first + k * kGroup) * kGroup + me.lane];
      butterflies(v);
#pragma unroll
      for (int k = 0; k < kRows; ++k) {
        const int c = first + k * kGroup;
        if (job.first_mid[c] != job.second_mid[c]) v[k] = -v[k];
      }
      butterflies(v);
#pragma unroll
      for (int k = 0; k < kRows; ++k) field[(first + k * kGroup) * kGroup + me.lane] = static_cast<std::int16_t>(v[k]);
    });
  });
}

// What becomes of f = T - u C m: softened into the next m, or also kept in place of T.
enum class Fields { pass, keep };

// Ends the product in `field`, decides, and begins the next: the levels inside blocks of 16 coordinates.
__device__ inline void decide_blocks(const Share& me, int d, int shift, Fields fields, std::int16_t* target, std::int16_t* field) {
  each_stretch<kGroup, int>(me, d, 1, [&](int first, int(&v)[kGroup]) {
#pragma unroll
    for (int k = 0; k < kGroup; ++k) v[k] = field[(first + k) * kGroup + me.lane];
    butterflies(v);
#pragma unroll
    for (int k = 0; k < kGroup; ++k) {
      const int at = (first + k) * kGroup + me.lane;
      const int f = static_cast<std::int16_t>(target[at] - v[k]);
      if (fields == Fields::keep) target[at] = static_cast<std::int16_t>(f);
      v[k] = soft(f, shift);
    }
    butterflies(v);
#pragma unroll
    for (int k = 0; k < kGroup; ++k) field[(first + k) * kGroup + me.lane] = static_cast<std::int16_t>(v[k]);
  });
}

// One half round of dense frames: f = T - cross m, or its transpose, then m = soft(f).
__device__ inline void decide_dense(const Share& me, const SignJob& job, int frame, int shift, Fields fields,
                                    const SignSpace& space) {
  const int d = job.d, along = frame == 0 ? 1 : d, across = frame == 0 ? d : 1;
  std::int16_t* target = space.target + frame * d * kGroup;
  each_coordinate(me, d, [&](int i) {
    int sum = 0;
    for (int j = 0; j < d; ++j) sum += job.cross[i * across + j * along] * space.soft[j * kGroup + me.lane];
    space.field[i * kGroup + me.lane] = static_cast<std::int16_t>(target[i * kGroup + me.lane] - sum);
  });
  __syncthreads();
  each_coordinate(me, d, [&](int i) {
    const int at = i * kGroup + me.lane, f = space.field[at];
    if (fields == Fields::keep) target[at] = static_cast<std::int16_t>(f);
    space.soft[at] = static_cast<std::int16_t>(soft(f, shift));
  });
  __syncthreads();
}

// One half round: decides m of `frame`. In step at both ends.
template <int kDim>
__device__ inline void decide(const Share& me, const SignJob& job, int frame, int shift, Fields fields, const SignSpace& space) {
  if (job.cross != nullptr) return decide_dense(me, job, frame, shift, fields, space);
  cross_blocks<kDim>(me, job, space.field);
  __syncthreads();
  decide_blocks(me, job.d, shift, fields, space.target + frame * job.d * kGroup, space.field);
  __syncthreads();
}

// Leaves codes; returns <y, signs>. In step at both ends.
template <int kDim>
__device__ inline float anneal_signs(const Share& me, const SignJob& job, float to_unit, const SignSpace& space) {
  __syncthreads();
  make_targets(me, job, to_unit, space);
  each_coordinate(me, job.d, [&](int c) { space.field[c * kGroup + me.lane] = space.soft[c * kGroup + me.lane] = 0; });
  __syncthreads();
  int start = 0;
  for (int unit = job.cross != nullptr ? kCrossUnit : job.d; unit > 1; unit /= 2) ++start;
  constexpr Annealing kPlan = kAnnealing;  // by value: device code may not index a constant of the host
  decide<kDim>(me, job, 1, start - kPlan.cooling[0], Fields::pass, space);
  for (const int cooling : kPlan.cooling) {
    const int shift = start > cooling ? start - cooling : 0;
    decide<kDim>(me, job, 0, shift, Fields::pass, space);
    decide<kDim>(me, job, 1, shift, Fields::pass, space);
  }
  decide<kDim>(me, job, 0, 0, Fields::keep, space);
  decide<kDim>(me, job, 1, 0, Fields::keep, space);
  each_coordinate(me, 2 * job.d, [&](int c) {
    space.codes[c * kGroup + me.lane] = static_cast<std::uint8_t>(space.target[c * kGroup + me.lane] < 0 ? 1 : 0);
  });
  return sum_of(me, space.chains, 2 * job.d, [&](int c) {
    const float y = space.y[c * kGroup + me.lane];
    return space.target[c * kGroup + me.lane] < 0 ? -y : y;
  });
}

}  // namespace qjl::cuda
