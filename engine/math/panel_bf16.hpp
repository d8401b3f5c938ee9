// Products of many tokens in bf16: packed weights become panels of bf16 pairs, 32 rows at a time, and meet bf16 activations.
//
//   y[t][r] = sum_c bf16(w[r][c]) bf16(x[t][c])           sums in fp32; panel [columns / 2][rows][2]
//
// An instruction multiplies a pair of columns of 16 rows with one token's pair. Needs AVX-512 BF16; elsewhere prompts stay in fp32.
// Cost: one decode of the weights for all tokens of the call, then 2 rows tokens columns flop at 64 an instruction.
#pragma once

#include <cstdint>

#include "packed_weight.hpp"

namespace qjl::engine {

inline constexpr std::int64_t kPanelGroups = 2;

// Rounded to nearest, ties to even. n is a multiple of 16.
void round_to_bf16(const float* x, std::int64_t n, std::uint16_t* out);

struct PanelProduct {
  const PackedWeight* weight;
  std::int64_t group_begin, group_end;  // at most kPanelGroups
  const std::uint16_t* x;               // bf16 [tokens][columns]
  std::int64_t tokens;
  float* out;
  std::int64_t out_stride;
  std::uint32_t* panel;  // scratch [columns / 2][kPanelGroups][kGroupRows]
};
void multiply_panel_bf16(const PanelProduct& product);

}  // namespace qjl::engine
