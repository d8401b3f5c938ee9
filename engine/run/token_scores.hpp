// What the model itself thinks of a token.
//
//   logprob[t] = l[t] - log sum_s exp(l[s]),  of the logits as they are: before penalties, bias, mask and temperature
#pragma once

#include <span>
#include <vector>

#include "tokenizer.hpp"

namespace qjl::engine {

struct TokenScore {
  Token token;
  float logprob;
};

// `top`: as many as were asked for, the most probable first, equal ones by the lower token. Where `token` is among them its number
// there is the same float.
struct ScoredToken {
  Token token;
  float logprob = 0;  // 0 where no scores were asked for
  std::vector<TokenScore> top = {};
};

// logits [vocab], top_count 0 or more. The same bits for the same logits.
ScoredToken score_token(std::span<const float> logits, Token token, int top_count);

}  // namespace qjl::engine
