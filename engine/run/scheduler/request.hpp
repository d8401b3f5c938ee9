// What the scheduler is asked, and what it answers.
//
//   submit(request) -> Ticket or Refusal at once;  then, on the engine's thread, calls of the request's Listener:
//   on_start, on_prompt_scores*, (on_token* on_choice_end) for each choice, choices interleaved, on_end: always, once, the last call
//
// Scores are of the model alone (token_scores.hpp). Everything is in token ids: text, stops in text and grammars are the caller's (on_token's answer, TokenMask).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sampler.hpp"
#include "token_scores.hpp"
#include "tokenizer.hpp"

namespace qjl::engine {

// Which tokens may come next in one choice. One call at a time, before every token, on one of the engine's threads: keep it within
// milliseconds.
class TokenMask {
 public:
  virtual ~TokenMask() = default;
  // Clears bit token % 32 of allowed[token / 32] for every token that may not come; all bits below vocab_size are set before.
  virtual void fill(std::span<std::uint32_t> allowed) = 0;
  virtual void accept(Token token) = 0;  // what was chosen, the token that ends the text included
  // What was accepted is whole. When nothing is left to draw a whole text ends its choice (ChoiceFinish::stop), another one its
  // request (End::Kind::failed): a bias forbids what the mask wants.
  virtual bool may_end() const { return true; }
};

// Why a choice ended. stop: a token that ends the text, a stop token, the listener's word, or an exhausted mask; length: max_tokens;
// context: no room. (generate.hpp has the same for one sequence.)
enum class ChoiceFinish : std::uint8_t { stop, length, context };

// Of a request, up to now or at its end; of all choices together where a number is not the prompt's.
struct Usage {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;     // of the prompt, found in shared or saved prefixes and not computed for this request
  std::int64_t generated_tokens = 0;  // tokens that end a text included
  std::string cache_type = {};
  double bits = 0;                     // honest bits per number of what this request holds: (own + shared bytes) over its tokens
  std::int64_t own_bytes = 0;          // of the cache, this request's alone: pages, sinks, tails, tables, no recurrent state
  std::int64_t shared_bytes = 0;       // pages that it shares with prefixes or other requests
  std::int64_t compressed_tokens = 0;  // tokens held in sealed pages
  std::int64_t held_tokens = 0;        // tokens held in all
};

// How a request ended.
struct End {
  enum class Kind : std::uint8_t {
    done,
    cancelled,  // Ticket::cancel
    drained,    // the scheduler stopped before it was done
    failed      // message says why: the request is lost, the scheduler lives on
  };
  Kind kind = Kind::done;
  std::string message = {};
  Usage usage = {};
};

// All calls come from the engine's thread, none overlaps another of the same scheduler. They must return soon (hand over to a
// thread of your own), must not throw (a throw ends the request as `failed`), and must not call the scheduler but for
// Ticket::cancel and the questions that any thread may ask.
class Listener {
 public:
  virtual ~Listener() = default;
  // Left the queue: its prompt is being read.
  virtual void on_start(const Usage&) {}
  // Only with prompt_scores. Scores of the prompt's tokens in order, in stretches; `first` is the position of scores.front(). Position
  // 0 has none: the first call has first = 1.
  virtual void on_prompt_scores(std::int64_t first, std::span<const ScoredToken> scores) {
    static_cast<void>(first), static_cast<void>(scores);
  }
  // One more token; false ends the choice with it (a stop in the text was found). `ends_text`: the token is an end-of-generation or
  // stop token, on_choice_end follows and the answer is not looked at.
  virtual bool on_token(int choice, const ScoredToken& token, bool ends_text) = 0;
  virtual void on_choice_end(int choice, ChoiceFinish finish) { static_cast<void>(choice), static_cast<void>(finish); }
  virtual void on_end(const End& end) = 0;
};

struct Request {
  std::vector<Token> prompt;     // at least one token, each in the vocabulary
  std::int64_t max_tokens = -1;  // made at most in each choice; -1: until the context is full. 0: the prompt is read alone
  int choices = 1;               // 1 to kMostChoices; forks of one prompt, choice i draws with seed sampling.seed + i
  SamplingConfig sampling = {};
  std::vector<Token> stop_tokens = {};  // end the text as the model's own end-of-generation tokens do
  bool ignores_end = false;             // end-of-generation tokens are never drawn; stop_tokens are
  std::int64_t min_tokens = 0;          // before so many are made neither end-of-generation nor stop tokens are drawn
  std::function<std::unique_ptr<TokenMask>()> make_mask = {};  // called once a choice, on the engine's thread; empty: none
  std::optional<int> token_scores = {};   // 0 to kMostTopScores entries in `top` of each token made; empty: no scores
  std::optional<int> prompt_scores = {};  // the same for the prompt; such a prompt is computed whole
  int cache_type = 0;                     // of SchedulerConfig::cache_types
  std::int64_t chunk = 0;                 // tokens of prompt a pass, a multiple of 128; 0: SchedulerConfig::chunk
  bool reads_prefixes = true;             // false: computes its whole prompt
  std::string salt = {};                  // prefixes are shared among equal salts only
  std::shared_ptr<Listener> listener;
};

inline constexpr int kMostChoices = 128, kMostTopScores = 20;

// Why a request was not taken. Nothing of it remains, its listener is not called.
struct Refusal {
  enum class Kind : std::uint8_t {
    invalid,     // a number out of range; `field` is the member's name
    too_long,    // can never fit: found tokens (prompt and max_tokens), wanted at most `wanted`
    queue_full,  // found as many waiting, at most `wanted` may; try again in retry_seconds
    draining
  };
  Kind kind;
  std::string message;  // with found and wanted
  std::string field = {};
  std::int64_t found = 0, wanted = 0;
  double retry_seconds = 0;  // at least 1, from the time that the last requests took
};

// What is wrong with the numbers of a request, whatever else is going on: tokens below `vocab`, cache types below their number.
std::optional<Refusal> check_numbers(const Request& request, std::int64_t vocab, int num_cache_types);

}  // namespace qjl::engine
