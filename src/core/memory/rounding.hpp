// Stretches of numbers to 16 bits and their check, on the chosen instruction set. rows.hpp has the rows and the errors.
//
//   to_half, to_bfloat   out[i] = the nearest number of the format, ties to even; returns whether the format can hold all: NaN and
//                        what rounds beyond the largest become something that it is not
//   any_above            whether some magnitude, as bits, reaches a limit: bits of magnitudes are in the order of the numbers
//
// Cost: one read; a prompt takes every number of its keys and values through here once.
#pragma once

#include <cstdint>

#include "qjl/simd.hpp"

namespace qjl {

struct Rounding {
  bool (*to_half)(const float* in, std::int64_t count, std::uint16_t* out);
  bool (*to_bfloat)(const float* in, std::int64_t count, std::uint16_t* out);
  bool (*any_above)(const std::int32_t* bits, std::int64_t count, std::int32_t limit);
  bool (*any_above_16)(const std::int16_t* bits, std::int64_t count, std::int16_t limit);
};

const Rounding& rounding();                   // on the chosen target
const Rounding& rounding(SimdTarget target);  // on any that simd_targets() names

}  // namespace qjl
