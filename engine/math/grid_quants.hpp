// ggml's formats whose codes are indices of grids (grids.hpp), blocks of 256 numbers, d in f16:
//
//   iq2_xxs   w = d (s + 1/2) / 4 * point * sign    4-bit s for 32 numbers; 8-bit indices, 7 sign bits for 8 numbers
//   iq2_xs    the same                              s for 16 numbers; 9-bit indices
//   iq2_s     the same                              s for 16 numbers; 10-bit indices, 8 sign bits
//   iq3_xxs   w = d (s + 1/2) / 2 * point * sign    s for 32 numbers; 8-bit indices of 4 numbers, 7 sign bits for 8 numbers
//   iq3_s     w = d (2 s + 1) * point * sign        s for 32 numbers; 9-bit indices of 4 numbers, 8 sign bits
//   iq1_s     w = d (2 s + 1) (point +- 1/8)        3-bit s for 32 numbers; 11-bit indices
//   iq1_m     the same                              3-bit s for 16 numbers; d in four pieces
//
// Where 7 bits give 8 signs, the eighth makes their number even. Source and judge as in quants.hpp.
#pragma once

#include <cstddef>

namespace qjl::engine {

// One block to out[256].
void decode_iq2_xxs(const std::byte* block, float* out);
void decode_iq2_xs(const std::byte* block, float* out);
void decode_iq2_s(const std::byte* block, float* out);
void decode_iq3_xxs(const std::byte* block, float* out);
void decode_iq3_s(const std::byte* block, float* out);
void decode_iq1_s(const std::byte* block, float* out);
void decode_iq1_m(const std::byte* block, float* out);

}  // namespace qjl::engine
