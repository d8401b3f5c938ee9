// One number of a sealed page at a time: the integer level that its bits stand for.
#pragma once

#include <cstdint>

#include "codebook.hpp"
#include "estimator.hpp"
#include "page_codes.cuh"
#include "thread.cuh"

namespace qjl::cuda {

// The levels as signed bytes, from the lowest, of codes of up to 16 levels. Kernels are handed them by value: constants in the code
// would be brought into a register again for every look-up.
struct ByteLevels {
  std::uint32_t bytes[4];
};
inline ByteLevels byte_levels_of(Code code) {
  ByteLevels levels{};
  for (int i = 0; i < 16; ++i) {
    levels.bytes[i / 4] |= (static_cast<std::uint32_t>(static_cast<int>(level_table(code).entry[i])) & 0xffu) << 8 * (i % 4);
  }
  return levels;
}

// max * 2^((code - 255) / 32), 0 for code 0.
__device__ inline float scale_of(int code, float largest) {
  const float power = static_cast<float>(code - kScaleCodeMax) * (1.0f / static_cast<float>(kScaleStepsPerOctave));
  return code == 0 ? 0.0f : largest * exp2_fast(power);
}

}  // namespace qjl::cuda
