// One request on its way: its prompt, then its choices. Used by the engine's thread alone, but for TicketState.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "prefix_tree.hpp"
#include "request.hpp"
#include "typed_cache.hpp"

namespace qjl::engine {

using Clock = std::chrono::steady_clock;
inline double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// Wakes the engine's thread; outlives it where tickets do.
class Bell {
 public:
  void ring() {
    const std::lock_guard lock(mutex_);
    is_rung_ = true;
    rung_.notify_one();
  }
  // Until it rings, or has rung since the last wait.
  void wait() {
    std::unique_lock lock(mutex_);
    rung_.wait(lock, [this] { return is_rung_; });
    is_rung_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable rung_;
  bool is_rung_ = false;
};

// What a ticket and the engine share.
struct TicketState {
  std::atomic<bool> is_cancelled{false};
  std::shared_ptr<Bell> bell;
};

// Where a choice's tokens are. live: in the cache, and every step takes it further; waiting: in the cache, for its first step, since
// the promise of its pages could not be given yet; parked: outside.
enum class Place : std::uint8_t { none, live, waiting, parked, ended };

struct Choice {
  Choice(const SamplingConfig& sampling) : sampler(sampling) {}

  Place place = Place::none;
  SequenceId sequence{};
  std::unique_ptr<ParkedSequence> parked;
  PrefixTree::Node* pin = nullptr;
  Sampler sampler;
  std::unique_ptr<TokenMask> mask;
  std::vector<Token> made;           // the last one is not in the cache yet
  std::int64_t limit = 0;            // tokens that it may make
  std::int64_t promised_tokens = 0;  // in all; pages for them are its own or promised
  std::int64_t shared_pages = 0;     // first ones, that it did not fill itself
  Clock::time_point last_token{};
};

struct Job {
  std::int64_t id = 0;
  Request request;
  std::shared_ptr<TicketState> ticket;
  Clock::time_point arrival{};
  // Called with the sequence of the read prompt, before it goes; may throw.
  std::function<void(TypedCache& cache, SequenceId sequence)> on_read = {};

  bool is_read = false, is_ended = false;
  std::int64_t held = 0;             // tokens of the prompt in choice 0's sequence
  std::int64_t computed = 0;         // of these, those that passed the model for this request
  std::vector<Choice> choices = {};  // one while the prompt is read
  Usage usage = {};

  std::int64_t chunk = 0;
  PrefixKey key() const { return {request.salt, chunk}; }
  std::int64_t prompt_tokens() const { return std::ssize(request.prompt); }
  bool reads_prefixes() const { return request.reads_prefixes && !request.prompt_scores; }
  // Tokens that a choice has in the cache, or parked.
  std::int64_t held_tokens(const Choice& choice) const {
    if (!is_read) return held;
    return prompt_tokens() + std::max<std::int64_t>(0, std::ssize(choice.made) - 1);
  }
};

}  // namespace qjl::engine
