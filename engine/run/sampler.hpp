// Chooses the next token from logits.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "tokenizer.hpp"

namespace qjl::engine {

// Applied in this order: what may not come, bias, repeat, frequency and presence penalty; then, as llama.cpp does, top-k, top-p,
// min-p, temperature.
struct SamplingConfig {
  float temperature = 0.0f;     // 0: greedy
  int top_k = 40;               // 0: off
  float top_p = 0.95f;          // 1: off
  float min_p = 0.05f;          // 0: off
  float repeat_penalty = 1.0f;  // 1: off
  int repeat_last_n = 64;
  std::uint64_t seed = 0;
  float frequency_penalty = 0.0f;                        // off a token's logit for each time that it was sampled, -2 to 2
  float presence_penalty = 0.0f;                         // off it once it was sampled, -2 to 2
  std::vector<std::pair<Token, float>> logit_bias = {};  // added to logits, -100 to 100; -100 never, 100 alone or nearly
};

// What may come next besides -inf. Empty: everything.
struct AllowedTokens {
  std::span<const std::uint32_t> mask = {};  // bit token % 32 of [token / 32]: 1, it may
  std::span<const Token> banned = {};        // may not
};

class Sampler {
 public:
  // Errors: invalid_argument when a number is out of its range.
  explicit Sampler(const SamplingConfig& config);
  // logits [vocab]; the chosen token is remembered for the repeat penalty. Errors: invalid_argument when no logit is finite.
  Token sample(std::span<const float> logits) { return sample(logits, {}); }
  // The same among what is allowed: kNoToken when that leaves no finite logit. Tokens outside the vocabulary are passed over.
  Token sample(std::span<const float> logits, const AllowedTokens& allowed);
  // Tokens that count for the repeat penalty without being sampled (the prompt).
  void accept(Token token);
  // No token counts for a penalty any more; the draws go on.
  void forget() { recent_.clear(), sampled_.clear(); }

  static constexpr Token kNoToken = -1;

 private:
  bool changes(const AllowedTokens& allowed) const;
  std::span<const float> change(std::span<const float> logits, const AllowedTokens& allowed);

  SamplingConfig config_;
  std::mt19937_64 random_;
  std::vector<Token> recent_;
  std::map<Token, std::int64_t> sampled_;  // how often
  std::vector<float> changed_;
};

}  // namespace qjl::engine
