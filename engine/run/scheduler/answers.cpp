// What comes of logits: tokens drawn, told, counted; ends.
#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

#include "batch.hpp"

namespace qjl::engine {

bool Batch::ends_text(const Job& job, Token token) const {
  return (tokenizer_.is_end_of_generation(token) && !job.request.ignores_end) ||
         std::ranges::find(job.request.stop_tokens, token) != job.request.stop_tokens.end();
}

// Tokens that may not come next, because they would end the text too early.
std::vector<Token> Batch::banned(const Job& job, const Choice& choice) const {
  std::vector<Token> out;
  const bool is_early = std::ssize(choice.made) < job.request.min_tokens;
  if (is_early || job.request.ignores_end) out = tokenizer_.data().end_of_generation;
  if (is_early) out.insert(out.end(), job.request.stop_tokens.begin(), job.request.stop_tokens.end());
  return out;
}

// On any thread; of one choice at a time.
void Batch::draw(Draw& draw) const {
  const Job& job = *draw.row->job;
  Choice& choice = *draw.row->choice;
  try {
    const std::vector<Token> never = banned(job, choice);
    const std::span<const float> logits = of_tokens(draw.logits);
    if (choice.mask) {
      draw.mask.assign((logits.size() + 31) / 32, ~std::uint32_t{0});
      choice.mask->fill(draw.mask);
    }
    const Token token = choice.sampler.sample(logits, {draw.mask, never});
    if (token == Sampler::kNoToken && choice.mask && !choice.mask->may_end()) {
      draw.fault = "no token is left that both the form of the answer and its logit_bias or min_tokens allow";
      return;
    }
    const std::optional<int>& wanted = job.request.token_scores;
    draw.token = wanted && token != Sampler::kNoToken ? score_token(logits, token, *wanted) : ScoredToken{token};
  } catch (const std::exception& error) {
    draw.fault = error.what();
  }
}

void Batch::answer(std::span<Draw> draws) {
  threads_.run(std::ssize(draws), [&](std::int64_t i, int) { draw(draws[static_cast<std::size_t>(i)]); });
  for (const Draw& each : draws) {
    Job& job = *each.row->job;
    if (job.is_ended) continue;
    if (!each.fault.empty())
      end_job(job, End::Kind::failed, each.fault);
    else
      deliver(job, *each.row->choice, each.token);
  }
}

// The prompt's last logits begin every choice; those beyond the first wait as forks until their pages are promised.
void Batch::finish_prompt(Job& job, std::span<const float> logits) {
  TypedCache& typed = cache(job.request.cache_type);
  Choice& first = job.choices.front();
  try {
    if (job.on_read) job.on_read(typed, first.sequence);
    job.is_read = true;
    job.usage.cached_tokens = job.prompt_tokens() - job.computed;
    for (int i = 1; i < job.request.choices; ++i) {
      SamplingConfig sampling = job.request.sampling;
      sampling.seed += static_cast<std::uint64_t>(i);
      Choice& choice = job.choices.emplace_back(sampling);
      choice.limit = first.limit;
      choice.sequence = typed.cache().fork(first.sequence);
      choice.pin = first.pin;
      PrefixTree::pin(choice.pin);
      choice.shared_pages = job.prompt_tokens() / kTokensPerPage;
      choice.place = Place::waiting;
    }
    const auto seen = std::min<std::ptrdiff_t>(std::ssize(job.request.prompt), job.request.sampling.repeat_last_n);
    for (Choice& choice : job.choices) {
      for (auto token = job.request.prompt.end() - seen; token != job.request.prompt.end(); ++token) choice.sampler.accept(*token);
      if (job.request.make_mask) choice.mask = job.request.make_mask();
    }
  } catch (const std::exception& error) {
    return end_job(job, End::Kind::failed, error.what());
  }
  if (job.request.max_tokens == 0) {
    for (Choice& choice : job.choices) end_choice(job, choice, ChoiceFinish::length);
    return;
  }
  std::vector<Row> rows;
  for (Choice& choice : job.choices) rows.push_back({&job, &choice});
  std::vector<Draw> draws;
  for (Row& row : rows) draws.push_back({&row, logits});
  answer(draws);
}

void Batch::deliver(Job& job, Choice& choice, const ScoredToken& token) {
  if (token.token == Sampler::kNoToken) return end_choice(job, choice, ChoiceFinish::stop);
  const auto now = Clock::now();
  if (choice.made.empty())
    totals_.first_token.add(seconds_between(job.arrival, now));
  else
    totals_.per_token.add(seconds_between(choice.last_token, now));
  choice.last_token = now;
  choice.made.push_back(token.token);
  const bool ends = ends_text(job, token.token);
  bool goes_on = true;
  const int index = static_cast<int>(&choice - job.choices.data());
  tell(job, [&](Listener& listener) {
    if (choice.mask) choice.mask->accept(token.token);
    goes_on = listener.on_token(index, token, ends);
  });
  if (job.is_ended) return;
  if (ends || !goes_on) return end_choice(job, choice, ChoiceFinish::stop);
  if (std::ssize(choice.made) < choice.limit) return;
  end_choice(job, choice, choice.limit == job.request.max_tokens ? ChoiceFinish::length : ChoiceFinish::context);
}

void Batch::end_choice(Job& job, Choice& choice, ChoiceFinish finish) {
  if (job.is_ended || choice.place == Place::ended) return;
  count_usage(job, choice);
  if (!config_.is_reproducible && choice.made.size() > 1) {
    std::vector<Token> text = job.request.prompt;
    text.insert(text.end(), choice.made.begin(), choice.made.end() - 1);
    keep_prefix(job, choice, text);
  }
  give_back(job, choice);
  choice.place = Place::ended;
  const int index = static_cast<int>(&choice - job.choices.data());
  tell(job, [&](Listener& listener) { listener.on_choice_end(index, finish); });
  const bool all = std::ranges::all_of(job.choices, [](const Choice& each) { return each.place == Place::ended; });
  if (all && !job.is_ended) end_job(job, End::Kind::done, "");
}

// Once a choice, while it has its tokens. The prompt counts with the first.
void Batch::count_usage(Job& job, const Choice& choice) {
  const TypedCache& typed = cache(job.request.cache_type);
  const bool is_first = &choice == &job.choices.front();
  const std::int64_t held = job.held_tokens(choice), pages = held / kTokensPerPage;
  job.usage.generated_tokens += std::ssize(choice.made);
  job.usage.own_bytes += (pages - choice.shared_pages) * typed.page_bytes() +
                         (held % kTokensPerPage > 0 ? typed.open_row_bytes() - typed.recurrent_bytes() : 0);
  if (is_first) job.usage.shared_bytes += choice.shared_pages * typed.page_bytes();
  job.usage.held_tokens += is_first ? held : held - job.prompt_tokens();
  job.usage.compressed_tokens += (is_first ? pages : pages - choice.shared_pages) * kTokensPerPage;
}

void Batch::end_job(Job& job, End::Kind kind, const std::string& message) {
  if (job.is_ended) return;
  const TypedCache& typed = cache(job.request.cache_type);
  for (Choice& choice : job.choices) {
    if (choice.place == Place::ended) continue;
    count_usage(job, choice);
    give_back(job, choice);
    choice.place = Place::ended;
  }
  job.is_ended = true;
  ended_.push_back(&job);
  Usage& usage = job.usage;
  usage.prompt_tokens = job.prompt_tokens();
  if (!job.is_read) usage.cached_tokens = std::max<std::int64_t>(0, job.held - job.computed);
  usage.cache_type = typed.type().name;
  const CacheConfig& shape = typed.cache().config();
  const double numbers = 2.0 * static_cast<double>(usage.held_tokens) * shape.num_layers * shape.num_kv_heads * shape.head_dim;
  usage.bits = numbers > 0 ? 8.0 * static_cast<double>(usage.own_bytes + usage.shared_bytes) / numbers : 0;
  totals_.prompt_tokens += usage.prompt_tokens;
  totals_.cached_tokens += usage.cached_tokens;
  totals_.generated_tokens += usage.generated_tokens;
  ++(kind == End::Kind::done        ? totals_.done
     : kind == End::Kind::cancelled ? totals_.cancelled
     : kind == End::Kind::drained   ? totals_.drained
                                    : totals_.failed);
  if (!job.request.listener) return;
  try {
    job.request.listener->on_end({kind, message, usage});
  } catch (const std::exception&) {  // nobody is left to tell
  }
}

Accounts Batch::accounts() const {
  Accounts out = totals_;
  for (const auto& typed : caches_) out.caches.push_back(typed->account());
  const auto now = Clock::now();
  const auto add = [&](const Job& job, int index, const Choice* choice, SequenceAccount::State state) {
    CacheAccount& typed = out.caches[static_cast<std::size_t>(job.request.cache_type)];
    SequenceAccount line{job.id, index, state, job.request.cache_type, job.prompt_tokens(), job.usage.cached_tokens};
    line.age_seconds = seconds_between(job.arrival, now);
    if (choice != nullptr) {
      line.generated_tokens = std::ssize(choice->made);
      line.held_tokens = job.held_tokens(*choice);
      line.shared_pages = choice->shared_pages;
      line.own_pages = line.held_tokens / kTokensPerPage - line.shared_pages;
    }
    if (state == SequenceAccount::State::parked) {
      ++typed.parked;
      typed.parked_bytes += choice->parked->bytes();
    }
    ++(state == SequenceAccount::State::waiting   ? out.waiting
       : state == SequenceAccount::State::reading ? out.reading
       : state == SequenceAccount::State::running ? out.running
                                                  : out.parked);
    out.sequences.push_back(line);
  };
  using State = SequenceAccount::State;
  for (const std::unique_ptr<Job>& job : active_) {
    for (std::size_t i = 0; i < job->choices.size(); ++i) {
      const Choice& choice = job->choices[i];
      if (choice.place == Place::ended) continue;
      const State state = choice.place == Place::parked    ? State::parked
                          : choice.place == Place::waiting ? State::waiting
                          : job->is_read                   ? State::running
                                                           : State::reading;
      add(*job, static_cast<int>(i), &choice, state);
    }
  }
  for (const std::unique_ptr<Job>& job : queue_) add(*job, 0, nullptr, State::waiting);
  out.weight_bytes = model_.weight_bytes();
  out.scratch_bytes = model_.peak_scratch_bytes();
  return out;
}

}  // namespace qjl::engine
