// merge: attention over two disjoint sets of tokens from the results over each, wherever those were made: in other caches, on other
// devices, in other processes.
//
//   lse = log(exp(lse_a) + exp(lse_b))                                (natural logarithm)
//   out = exp(lse_a - lse) out_a + exp(lse_b - lse) out_b
//
// Any number of results merge in any order, two at a time; nothing but rounding is lost.
#pragma once

#include <cstdint>

#include "qjl/tensor.hpp"

namespace qjl {

// What attend() gave over some of the tokens, brought to the host. A query that saw none of them has lse -infinity and counts for
// nothing, whatever its out holds.
struct AttendResult {
  TensorView out;                    // fp32 [query_heads, tokens, head_dim]
  const float* lse = nullptr;        // [query_heads, tokens]
  std::int64_t lse_head_stride = 0;  // numbers from head to head: tokens, as attend writes it
};

// out [query_heads, tokens, head_dim], lse [query_heads, tokens] contiguous or null; either may be that of a result, which the merged
// one then replaces. Where neither saw anything out is 0 and lse -infinity.
// Cost: one read of both, on the calling thread.
// Errors: invalid_argument on shapes that differ, other dtypes, null memory, lse that is NaN or +infinity; unsupported on memory of a
// GPU. Nothing is written then.
void merge(const AttendResult& a, const AttendResult& b, const OutputView& out, float* lse);

}  // namespace qjl
