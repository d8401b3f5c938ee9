// Causal attention of a prompt to itself in bf16, for fast arithmetic: no token of the sequence is cached yet.
//
//   out[t] = sum_{u <= t} softmax_u(<q_t, k_u> / sqrt(d)) v_u
//
// q, k, v and the weights are rounded to bf16, sums and the softmax are fp32. Keys and values become pairs once a layer, as
// [kv_head][block of 32 keys][d / 2][32] and [kv_head][pair of tokens][d]; a piece is up to 96 rows (queries times heads of one
// group) against 128 keys at a time, with a running maximum. Cost: 4 d flop a pair of query and key, 64 an instruction.
#pragma once

#include <cstdint>
#include <vector>

#include "qjl/threads.hpp"

namespace qjl::engine {

// Token-major fp32: queries and out [tokens][num_heads * head_dim], keys and values [tokens][num_kv_heads * head_dim].
struct PromptAttention {
  const float *queries, *keys, *values;
  float* out;
  std::int64_t tokens;
  int num_heads, num_kv_heads, head_dim;
};

struct PromptScratch {
  std::vector<std::uint32_t> keys, values;
  std::vector<std::vector<float>> workers;
  std::int64_t bytes() const;
};

// Whether this processor has bf16 products and the shape fits: head_dim a multiple of 32, at most 96 heads in a group.
bool can_attend_prompt(int num_heads, int num_kv_heads, int head_dim);

void attend_prompt(const PromptAttention& prompt, PromptScratch& scratch, ThreadPool& threads);

}  // namespace qjl::engine
