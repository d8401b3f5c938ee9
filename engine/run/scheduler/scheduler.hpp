// Many requests through one model and its caches: continuous batching on one thread that owns both.
//
//   step = the next token of every running sequence + at most one chunk of one prompt, in one forward a cache type
//
// Prompts take turns chunk by chunk, requests enter first come first served, as many as their pages fit. Prefixes are shared by
// pages of 128 tokens, compared token by token. A sequence that grows and finds no page parks the youngest: its packed bytes leave
// the pool and return later. Nothing accepted is lost.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "accounts.hpp"
#include "cache_type.hpp"
#include "model.hpp"
#include "qjl/threads.hpp"
#include "request.hpp"

namespace qjl::engine {

struct SchedulerConfig {
  std::vector<CacheType> cache_types;  // at least one; the first is the default
  std::int64_t cache_bytes = 0;        // pages, tails and tables of all types together; types share it equally
  std::int64_t context = 0;            // tokens of prompt and answer of one request; 0: what the model was trained for
  int parallel = 8;                    // requests that are read or run at once; more wait. Choices are not counted
  std::int64_t chunk = 512;            // tokens of prompt a pass, a multiple of 128
  int max_queue = 64;                  // requests that may wait
  bool is_reproducible = false;        // equal bits alone and in company, cold and warm; prefixes count at multiples of chunk
  Arithmetic arithmetic = Arithmetic::fast;
  std::string prefix_dir = {};        // saved prefixes; empty: none
  std::int64_t prefix_dir_bytes = 0;  // > 0: idle prefixes are written there by themselves, up to so many bytes
};

// A request that was taken. Copies are the same ticket; letting go of it changes nothing.
class Ticket {
 public:
  std::int64_t id() const { return id_; }
  // From any thread, any number of times, also after the end. Pages come back within a step; on_end(cancelled) follows unless the
  // request ends by itself before.
  void cancel() const;

 private:
  friend class Scheduler;
  std::int64_t id_ = 0;
  std::shared_ptr<struct TicketState> state_;
};

// A saved prefix: a file of prefix_dir.
struct PrefixInfo {
  std::string name = {};
  std::string cache_type = {};
  std::int64_t tokens = 0, bytes = 0, chunk = 0;
  bool is_named = false;   // written by save_prefix; else by the scheduler itself
  std::string fault = {};  // why it is not used; empty: it is
};

// What compression does to one text: each token's distribution with the exact cache and with the compressed one.
struct Damage {
  std::vector<double> kl;            // [tokens] of the distribution after each token, nats; the first chunk's are of exact rows
  std::vector<std::uint8_t> is_top;  // [tokens] 1: the same most probable token
  double mean_kl = 0, same_top = 0;  // over the tokens after the first chunk; 0 of none
};

class Scheduler {
 public:
  // Starts the engine's thread. Model, tokenizer and threads are the caller's, outlive it and are used by nobody else. Errors:
  // invalid_argument on a number out of range or a cache too small for one page; those of KvCache.
  Scheduler(Model& model, const Tokenizer& tokenizer, ThreadPool& threads, const SchedulerConfig& config);
  // As drain(0), then waits for the thread.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // From any thread; returns at once. All of a list are taken or none: a list is refused as full only when the queue already is.
  std::variant<Ticket, Refusal> submit(Request request);
  std::variant<std::vector<Ticket>, Refusal> submit(std::vector<Request> requests);

  // No request is taken from now on; those that were are ended after `seconds` at the latest (End::drained). Returns when all have
  // ended, true unless some were cut.
  bool drain(double seconds);
  bool is_draining() const;

  const SchedulerConfig& config() const;               // with its defaults filled in
  std::int64_t capacity_tokens(int cache_type) const;  // of one sequence that has all pages
  Accounts accounts() const;                           // a snapshot, never waits for a pass

  // Saved prefixes. save: reads the tokens (through shared prefixes, as any request), writes the first multiple of 128 of them (of
  // the chunk when reproducible) to prefix_dir; on_done comes on the engine's thread with what was written, or an error in `fault`.
  // Errors of all three: invalid_argument on a name that is not [A-Za-z0-9._-]{1,100} or begins with a dot, without prefix_dir;
  // remove returns false when there is none.
  std::variant<Ticket, Refusal> save_prefix(const std::string& name, std::vector<Token> tokens, int cache_type,
                                            std::function<void(const PrefixInfo&)> on_done);
  std::vector<PrefixInfo> prefixes() const;
  bool remove_prefix(const std::string& name);

  // Reads the tokens through an exact cache and through that type, a chunk of each a step, beside what runs. on_done comes on the
  // engine's thread, with a message on failure. chunk 0: the scheduler's.
  std::variant<Ticket, Refusal> measure_damage(std::vector<Token> tokens, int cache_type, std::int64_t chunk,
                                               std::function<void(const Damage&, const std::string& error)> on_done);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qjl::engine
