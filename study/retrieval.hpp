// Whether a cache still finds what stands somewhere in its context: questions about one text, answered through several caches.
//
//   the tokens that all prompts share are processed once, exactly, and fill every cache;
//   then, per cache and question: fork, the rest of the prompt through the cache, answer greedily
//   an answer is right when every token of it is the likeliest one after those before it
//
// Cost: one exact pass over the shared tokens; per cache their encoding, and the rest of the prompt and the answer per question.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "eval.hpp"
#include "trial_cache.hpp"

namespace qjl::engine {

struct RetrievalQuestion {
  std::vector<Token> prompt;  // whole, the beginning of the answer that is given included
  std::vector<Token> answer;
};

struct RetrievalAnswer {
  std::vector<Token> tokens;  // as many as the right answer has
  bool right = false;
};

// answers[cache][question]. Every cache is empty and has room for two sequences of the longest prompt and answer.
// Errors: invalid_argument when there is no question, or the prompts share no token or are the same token for token.
std::vector<std::vector<RetrievalAnswer>> ask_caches(Model& model, std::span<const RetrievalQuestion> questions,
                                                     std::span<TrialCache> caches, ThreadPool& threads, const Progress& progress);

// Tokens that a cache must have room for.
std::int64_t longest_sequence(std::span<const RetrievalQuestion> questions);

}  // namespace qjl::engine
