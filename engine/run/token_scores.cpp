// Scores: the sum in double, in the order of tokens.
#include "token_scores.hpp"

#include <algorithm>
#include <cmath>

namespace qjl::engine {

ScoredToken score_token(std::span<const float> logits, Token token, int top_count) {
  const float greatest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - greatest);
  const double normaliser = greatest + std::log(sum);
  const auto score = [&](Token of) { return static_cast<float>(logits[static_cast<std::size_t>(of)] - normaliser); };
  ScoredToken out{token, score(token), {}};
  const auto better = [](const TokenScore& a, const TokenScore& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
  };
  const auto wanted = std::min(static_cast<std::size_t>(top_count), logits.size());
  for (std::size_t i = 0; wanted > 0 && i < logits.size(); ++i) {  // logits until the end, so that ties are those of logits
    const TokenScore next{static_cast<Token>(i), logits[i]};
    if (out.top.size() == wanted && !better(next, out.top.back())) continue;
    if (out.top.size() == wanted) out.top.pop_back();
    out.top.insert(std::ranges::upper_bound(out.top, next, better), next);
  }
  for (TokenScore& entry : out.top) entry.logprob = score(entry.token);
  return out;
}

}  // namespace qjl::engine
