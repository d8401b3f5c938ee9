// Which requests are none.
#include "request.hpp"

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "qjl/codec.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

Refusal invalid(const std::string& field, const std::string& text) { return {Refusal::Kind::invalid, field + " " + text, field}; }

}  // namespace

std::optional<Refusal> check_numbers(const Request& r, std::int64_t vocab, int num_cache_types) {
  const auto bad = [&](std::span<const Token> tokens) {
    return std::ranges::any_of(tokens, [&](Token t) { return t < 0 || t >= vocab; });
  };
  const auto range = [](std::int64_t found, std::int64_t least, std::int64_t most) {
    return "is " + std::to_string(found) + ", wanted " + std::to_string(least) + " to " + std::to_string(most);
  };
  if (r.prompt.empty()) return invalid("prompt", "has 0 tokens, wanted at least 1");
  if (bad(r.prompt)) return invalid("prompt", "has a token outside the vocabulary, wanted 0 to " + std::to_string(vocab - 1));
  if (bad(r.stop_tokens))
    return invalid("stop_tokens", "has a token outside the vocabulary, wanted 0 to " + std::to_string(vocab - 1));
  if (r.max_tokens < -1) return invalid("max_tokens", "is " + std::to_string(r.max_tokens) + ", wanted 0 or more (-1: no limit)");
  if (r.min_tokens < 0) return invalid("min_tokens", "is " + std::to_string(r.min_tokens) + ", wanted 0 or more");
  if (r.choices < 1 || r.choices > kMostChoices) return invalid("choices", range(r.choices, 1, kMostChoices));
  for (const auto& [name, count] : {std::pair{"token_scores", r.token_scores}, {"prompt_scores", r.prompt_scores}}) {
    if (count && (*count < 0 || *count > kMostTopScores)) return invalid(name, range(*count, 0, kMostTopScores));
  }
  if (r.cache_type < 0 || r.cache_type >= num_cache_types)
    return invalid("cache_type", range(r.cache_type, 0, num_cache_types - 1));
  if (r.chunk < 0 || r.chunk % kTokensPerPage != 0)
    return invalid("chunk", "is " + std::to_string(r.chunk) + ", wanted a multiple of " + std::to_string(kTokensPerPage));
  try {
    const Sampler sampler(r.sampling);
  } catch (const Error& error) {
    return Refusal{Refusal::Kind::invalid, error.what(), "sampling"};
  }
  return std::nullopt;
}

}  // namespace qjl::engine
