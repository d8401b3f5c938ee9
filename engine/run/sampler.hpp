// Chooses the next token from logits.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "tokenizer.hpp"

namespace qjl::engine {

// Applied in this order, as llama.cpp does: repeat penalty, top-k, top-p, min-p, temperature.
struct SamplingConfig {
  float temperature = 0.0f;     // 0: greedy
  int top_k = 40;               // 0: off
  float top_p = 0.95f;          // 1: off
  float min_p = 0.05f;          // 0: off
  float repeat_penalty = 1.0f;  // 1: off
  int repeat_last_n = 64;
  std::uint64_t seed = 0;
};

class Sampler {
 public:
  // Errors: invalid_argument when a number is out of its range.
  explicit Sampler(const SamplingConfig& config);
  // logits [vocab]; the chosen token is remembered for the repeat penalty. Errors: invalid_argument when no logit is finite.
  Token sample(std::span<const float> logits);
  // Tokens that count for the repeat penalty without being sampled (the prompt).
  void accept(Token token);
  // No token counts for the repeat penalty any more; the draws go on.
  void forget() { recent_.clear(); }

 private:
  SamplingConfig config_;
  std::mt19937_64 random_;
  std::vector<Token> recent_;
};

}  // namespace qjl::engine
