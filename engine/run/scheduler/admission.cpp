// Who is in, and where the tokens of each choice are.
//
// A promise is the pages of a length that a choice may reach: prompt + max_tokens, or kDefaultTokens where the client names none. All
// promises of live choices together fit, so none of these has to stop. A choice that outgrows its promise asks for one more page,
// and parks the youngest where there is none. First come first served: parked ones, then waiting choices, then the queue's head.
#include <algorithm>
#include <utility>

#include "batch.hpp"
#include "prefix_store.hpp"

namespace qjl::engine {
namespace {

constexpr std::int64_t kDefaultTokens = 512;  // of an answer whose length nobody knows

std::int64_t pages_of(std::int64_t tokens) { return tokens / kTokensPerPage; }  // sealed ones

// What a new choice is promised, in tokens.
std::int64_t promise_for(const Job& job, const Choice& choice) {
  const std::int64_t answer = job.request.max_tokens < 0 ? std::min(kDefaultTokens, choice.limit) : choice.limit;
  return job.prompt_tokens() + answer;
}

}  // namespace

TypedCache::Promises Batch::promises(int type, const Choice* except) const {
  TypedCache::Promises all;
  for (const std::unique_ptr<Job>& job : active_) {
    if (job->request.cache_type != type) continue;
    for (const Choice& choice : job->choices) {
      if (choice.place != Place::live || &choice == except) continue;
      all.pages += std::max<std::int64_t>(0, pages_of(choice.promised_tokens) - pages_of(job->held_tokens(choice)));
      ++all.live;
    }
  }
  return all;
}

void Batch::end_cancelled() {
  for (std::size_t i = 0; i < queue_.size();) {
    if (!queue_[i]->ticket->is_cancelled) {
      ++i;
      continue;
    }
    const std::unique_ptr<Job> job = std::move(queue_[i]);
    queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(i));
    end_job(*job, End::Kind::cancelled, "");
    std::erase(ended_, job.get());
  }
  for (const std::unique_ptr<Job>& job : active_) {
    if (job->ticket->is_cancelled && !job->is_ended) end_job(*job, End::Kind::cancelled, "");
  }
  sweep();
}

void Batch::admit() {
  std::vector<bool> is_open;
  for (int type = 0; type < std::ssize(caches_); ++type) is_open.push_back(admit_waiting(type));
  while (!queue_.empty() && std::ssize(active_) < config_.parallel) {
    Job& job = *queue_.front();
    if (!is_open[static_cast<std::size_t>(job.request.cache_type)] || !enter(job)) break;
    active_.push_back(std::move(queue_.front()));
    queue_.pop_front();
    tell(job, [&](Listener& listener) { listener.on_start(job.usage); });
  }
}

// Returns whether none is left. Where nothing runs, what the others of them have in the cache goes out of the way of the first.
bool Batch::admit_waiting(int type) {
  for (const Place place : {Place::parked, Place::waiting}) {
    for (const std::unique_ptr<Job>& job : active_) {
      if (job->request.cache_type != type) continue;
      for (Choice& choice : job->choices) {
        while (choice.place == place && !(place == Place::parked ? return_parked(*job, choice) : start_choice(*job, choice))) {
          if (promises(type, nullptr).live > 0 || !park_youngest(type, &choice)) return false;
        }
      }
    }
  }
  return true;
}

// A saved prefix takes the place of pages that were just promised.
bool Batch::enter(Job& job) {
  const int type = job.request.cache_type;
  TypedCache& typed = cache(type);
  job.choices.reserve(static_cast<std::size_t>(job.request.choices));
  Choice& choice = job.choices.emplace_back(job.request.sampling);
  const std::int64_t room = std::min(config_.context, typed.capacity_tokens()) - job.prompt_tokens();
  choice.limit = job.request.max_tokens < 0 ? room : std::min(room, job.request.max_tokens);
  choice.promised_tokens = promise_for(job, choice);
  const std::int64_t pages = pages_of(choice.promised_tokens);
  share_prefix(job);
  if (!typed.make_room(pages - pages_of(job.held), promises(type, nullptr))) {
    give_back(job, choice);
    job.choices.clear();
    typed.hit_tokens -= std::exchange(job.held, 0);
    return false;
  }
  if (store_ != nullptr && job.reads_prefixes()) {
    store_->bring(job.key(), job.request.prompt, typed);
    share_prefix(job);
  }
  if (choice.pin == nullptr) choice.sequence = typed.cache().create();
  choice.place = Place::live;
  if (job.reads_prefixes()) ++(job.held > 0 ? typed.hits : typed.misses);
  job.usage.prompt_tokens = job.prompt_tokens();
  job.usage.cached_tokens = job.held;
  return true;
}

// Pages of its text that are still held are shared again; the rest comes back as it left.
bool Batch::return_parked(Job& job, Choice& choice) {
  TypedCache& typed = cache(job.request.cache_type);
  PrefixTree& tree = typed.tree();
  const std::int64_t held = job.held_tokens(choice), most = job.prompt_tokens() + choice.limit;
  const std::int64_t promised = std::min(most, std::max(choice.promised_tokens, held + 1 + kTokensPerPage));
  const auto own = std::min(held, job.prompt_tokens());  // of the prompt; what it made itself nobody else has
  const std::int64_t grain = config_.is_reproducible ? job.chunk : kTokensPerPage;
  const auto match = tree.find(job.key(), std::span(job.request.prompt).first(static_cast<std::size_t>(own)));
  const std::int64_t shared = job.reads_prefixes() ? match.tokens / grain * grain : 0;
  PrefixTree::Node* node = shared > 0 ? tree.node_at(match, shared) : nullptr;
  PrefixTree::pin(node);
  if (!typed.make_room(pages_of(promised) - pages_of(shared), promises(job.request.cache_type, &choice))) {
    PrefixTree::unpin(node);
    return false;
  }
  choice.sequence = node != nullptr ? tree.fork(*node) : typed.cache().create();
  choice.pin = node;
  choice.shared_pages = pages_of(shared);
  choice.parked->bring_back(typed.cache(), choice.sequence);
  choice.parked.reset();
  choice.promised_tokens = promised;
  choice.place = Place::live;
  return true;
}

bool Batch::start_choice(Job& job, Choice& choice) {
  const std::int64_t promised = promise_for(job, choice);
  const std::int64_t pages = pages_of(promised) - pages_of(job.held_tokens(choice));
  if (!cache(job.request.cache_type).make_room(pages, promises(job.request.cache_type, &choice))) return false;
  choice.promised_tokens = promised;
  choice.place = Place::live;
  return true;
}

// Room for the next token; returns false when the choice had to be parked.
bool Batch::grow(Job& job, Choice& choice) {
  const int type = job.request.cache_type;
  if (pages_of(job.held_tokens(choice) + 1) <= pages_of(choice.promised_tokens)) return true;
  while (!cache(type).make_room(1, promises(type, &choice))) {
    park_youngest(type, nullptr);
    if (choice.place == Place::parked) return false;
  }
  choice.promised_tokens += kTokensPerPage;
  return true;
}

// Of all that have tokens in the cache but `except`; returns whether there was one.
bool Batch::park_youngest(int type, const Choice* except) {
  for (auto job = active_.rbegin(); job != active_.rend(); ++job) {
    if ((*job)->request.cache_type != type || (*job)->is_ended) continue;
    auto& choices = (*job)->choices;
    for (auto choice = choices.rbegin(); choice != choices.rend(); ++choice) {
      if (&*choice == except || (choice->place != Place::live && choice->place != Place::waiting)) continue;
      park(**job, *choice);
      return true;
    }
  }
  return false;
}

void Batch::park(Job& job, Choice& choice) {
  auto parked = std::make_unique<ParkedSequence>(cache(job.request.cache_type).cache(), choice.sequence);
  give_back(job, choice);
  choice.parked = std::move(parked);
  choice.place = Place::parked;
  choice.shared_pages = 0;
  ++totals_.parkings;
}

// What a choice has of the cache.
void Batch::give_back(Job& job, Choice& choice) {
  if (choice.sequence != SequenceId{}) cache(job.request.cache_type).cache().drop(choice.sequence);
  choice.sequence = {};
  PrefixTree::unpin(std::exchange(choice.pin, nullptr));
  choice.parked.reset();
}

// Before every pass of a prompt: goes on from the longest prefix that is held by now, if that is longer than what it has itself. The
// last token is always read: its logits begin the answer.
void Batch::share_prefix(Job& job) {
  if (!job.reads_prefixes()) return;
  TypedCache& typed = cache(job.request.cache_type);
  const auto match = typed.tree().find(job.key(), std::span(job.request.prompt).first(job.request.prompt.size() - 1));
  const std::int64_t grain = config_.is_reproducible ? job.chunk : kTokensPerPage;
  const std::int64_t tokens = match.tokens / grain * grain;
  if (tokens <= job.held) return;
  Choice& choice = job.choices.front();
  PrefixTree::Node* node = typed.tree().node_at(match, tokens);
  PrefixTree::pin(node);
  const SequenceId sequence = typed.tree().fork(*node);
  give_back(job, choice);
  choice.pin = node;
  choice.sequence = sequence;
  choice.shared_pages = tokens / kTokensPerPage;
  typed.hit_tokens += tokens - job.held;
  job.held = tokens;
}

// What a choice has read, or made, is found from now on. With reproducible results only whole chunks of prompts are: other pages
// depend on where an answer began. Nothing is found where layers keep a state.
void Batch::keep_prefix(Job& job, Choice& choice, std::span<const Token> text) {
  if (model_.config().recurrent_numbers() > 0) return;
  if (config_.is_reproducible) text = text.first(static_cast<std::size_t>(std::ssize(text) / job.chunk * job.chunk));
  PrefixTree& tree = cache(job.request.cache_type).tree();
  PrefixTree::Node* node = tree.insert(job.key(), text, choice.sequence, choice.pin);
  if (node == nullptr) return;
  PrefixTree::pin(node);
  PrefixTree::unpin(std::exchange(choice.pin, node));
}

}  // namespace qjl::engine
