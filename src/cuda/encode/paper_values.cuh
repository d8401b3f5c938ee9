// The paper's values of one page: per token and 32 channels, code = round((v - min) / step) in 0..3, step = (max - min) / 3, both
// fp16. The bytes of the CPU's encode/paper.hpp; a thread takes a group of channels.
#pragma once

#include "encode_page.cuh"

namespace qjl::cuda {

// One group of `count` channels of a token: its minimum and step, and its codes, four a byte.
struct MinMaxPlace {
  std::uint16_t *step, *minimum;
  std::uint8_t* codes;
};
__device__ inline void encode_minmax_group(const PageRows& rows, int token, int first, int count, const MinMaxPlace& place) {
  float low = rows.at(token, first), high = low;
  for (int c = 1; c < count; ++c) {  // of equal numbers the first is the smallest, the last the largest: -0 and 0 differ in bits
    const float v = rows.at(token, first + c);
    low = v < low ? v : low;
    high = v < high ? high : v;
  }
  const auto half = [](float number) { return float_to_half(fminf(fmaxf(number, -kHalfMax), kHalfMax)); };
  const std::uint16_t minimum = half(low), step = half((high - low) / 3.0f);
  *place.minimum = minimum;
  *place.step = step;
  const float base = half_to_float(minimum), unit = half_to_float(step);
  for (int byte = 0; byte < count / 4; ++byte) {
    unsigned bits = 0;
    for (int k = 0; k < 4; ++k) {
      const float v = rows.at(token, first + 4 * byte + k);
      const float steps = unit > 0.0f ? fminf(fmaxf(rintf((v - base) / unit), 0.0f), 3.0f) : 0.0f;
      bits |= static_cast<unsigned>(steps) << 2 * k;
    }
    place.codes[byte] = static_cast<std::uint8_t>(bits);
  }
}

__device__ inline void encode_minmax(const EncodeLaunch& launch, std::int64_t i) {
  const int d = launch.tables.shape.head_dim, groups = layout::minmax_groups(d);
  const PageRows rows = page_rows(launch.args, i);
  std::uint8_t* body = launch.args.bodies[i];
  auto *steps = reinterpret_cast<std::uint16_t*>(body + launch.at.value_steps),
       *minima = reinterpret_cast<std::uint16_t*>(body + launch.at.value_minima);
  for (int task = thread_idx(); task < layout::kPageTokens * groups; task += block_threads()) {
    const int slot = task / groups, first = task % groups * layout::kMinMaxGroup, token = layout::token_of_slot(slot);
    const int count = d - first < layout::kMinMaxGroup ? d - first : layout::kMinMaxGroup;
    std::uint8_t* codes = body + launch.at.values + (slot * d + first) / 4;
    if (token >= rows.num_sinks) {
      encode_minmax_group(rows, token, first, count, {steps + task, minima + task, codes});
      continue;
    }
    steps[task] = minima[task] = 0;
    for (int byte = 0; byte < count / 4; ++byte) codes[byte] = 0;
  }
}

}  // namespace qjl::cuda
