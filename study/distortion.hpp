// How far the numbers that a cache stands for are from the exact ones, apart from any model: keys, values, and what attention
// makes of both.
//
//   key_error     sqrt(sum |k^ - k|^2 / sum |k|^2)            value_error the same, over tokens of sealed pages
//   score_error   root mean square over queries of the standard deviation over tokens of <q, k^ - k> / sqrt(head_dim): an error
//                 that is the same for all tokens cancels in the softmax
//   output_error  sqrt(sum |o^ - o|^2 / sum |o|^2), o = sum_t softmax(s)[t] v_t
//
// Queries are of the last page and see the tokens of the pages before it.
// The numbers are read back from the sealed pages of a KvCache. Cost: queries * tokens * head_dim per cache and layer.
#pragma once

#include <vector>

#include "capture.hpp"
#include "trial_cache.hpp"

namespace qjl::engine {

struct Distortion {
  double key_error = 0, value_error = 0;
  double score_error = 0, output_error = 0;  // 0 without queries
};

// Appends a layer to the cache and compares what its sealed pages stand for: for each kv head, or for all together. Tokens before
// first_token (sinks, which most types keep exactly) and beyond the last full page are left out.
std::vector<Distortion> compare_heads(TrialCache& trial, const CapturedLayer& layer, std::int64_t first_token, ThreadPool& threads);
Distortion compare_layer(TrialCache& trial, const CapturedLayer& layer, std::int64_t first_token, ThreadPool& threads);

}  // namespace qjl::engine
