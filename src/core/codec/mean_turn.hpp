// How the page mean turns with RoPE, as tables: which channels turn, and cosines and sines of their angles at the knots of a page.
//
//   angle of pair i at knot n = frequency[i] * (8 n - 64)        page.hpp says what they are for
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "qjl/config.hpp"

namespace qjl {

struct MeanTurn {
  std::vector<std::uint8_t> order;  // [head_dim] channels: firsts of turning pairs, seconds, still ones, those without a mean
  int turning_pairs = 0;
  int mean_channels = 0;        // of `order` that have a mean
  std::vector<float> cos, sin;  // [turning_pairs][kKnotStride]
  std::vector<float> early;     // [turning_pairs][8][2]: cosine and sine of knots 0 .. 7
};

// Errors: invalid_argument on frequencies; `where` comes before what was found.
void check_rope(int head_dim, const KeyRope& rope, std::string_view where = {});

// Errors: as check_rope().
MeanTurn make_mean_turn(int head_dim, const KeyRope& rope);

}  // namespace qjl
