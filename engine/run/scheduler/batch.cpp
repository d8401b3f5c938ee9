// A step, pass by pass.
#include "batch.hpp"

#include <algorithm>
#include <utility>

#include "prefix_store.hpp"
#include "token_scores.hpp"

namespace qjl::engine {

Batch::Batch(Model& model, const Tokenizer& tokenizer, ThreadPool& threads, const SchedulerConfig& config)
    : model_(model), tokenizer_(tokenizer), threads_(threads), config_(config) {
  const std::int64_t bytes = config.cache_bytes / std::max<std::int64_t>(1, std::ssize(config.cache_types));
  for (const CacheType& type : config.cache_types) {
    caches_.push_back(std::make_unique<TypedCache>(model, type, static_cast<int>(caches_.size()), bytes));
  }
  model.prepare(config.arithmetic, threads);
}

Batch::~Batch() = default;

void Batch::submit(std::unique_ptr<Job> job) {
  job->chunk = job->request.chunk > 0 ? job->request.chunk : config_.chunk;
  // Pages of a prefix are no beginning without the state after them, which nobody keeps.
  if (model_.config().recurrent_numbers() > 0) job->request.reads_prefixes = false;
  queue_.push_back(std::move(job));
}

bool Batch::step() {
  end_cancelled();
  admit();
  sweep();
  if (active_.empty()) return false;
  Job* reader = next_reader();
  for (int type = 0; type < std::ssize(caches_); ++type) {
    std::vector<Row> rows = rows_of(type, reader);
    if (!rows.empty()) pass(type, rows);
  }
  sweep();
  ++totals_.steps;
  return true;
}

// Prompts take turns, chunk by chunk.
Job* Batch::next_reader() {
  Job* first = nullptr;
  for (const std::unique_ptr<Job>& job : active_) {
    if (job->is_read || job->choices.front().place != Place::live) continue;
    if (first == nullptr) first = job.get();
    if (job->id > last_reader_) {
      first = job.get();
      break;
    }
  }
  if (first != nullptr) last_reader_ = first->id;
  return first;
}

// The oldest grow first; who is parked on the way is left out.
std::vector<Batch::Row> Batch::rows_of(int type, Job* reader) {
  const auto for_live = [&](const auto& work) {
    for (const std::unique_ptr<Job>& job : active_) {
      if (!job->is_read || job->request.cache_type != type) continue;
      for (Choice& choice : job->choices) {
        if (choice.place == Place::live) work(*job, choice);
      }
    }
  };
  for_live([&](Job& job, Choice& choice) { grow(job, choice); });
  std::vector<Row> rows;
  for_live([&](Job& job, Choice& choice) { rows.push_back({&job, &choice}); });
  if (reader == nullptr || reader->request.cache_type != type || reader->choices.front().place != Place::live) return rows;
  share_prefix(*reader);
  const std::int64_t end = (reader->held / reader->chunk + 1) * reader->chunk;  // chunks stand on a grid from position 0 on
  rows.push_back({reader, &reader->choices.front(), reader->held, std::min(end, reader->prompt_tokens())});
  return rows;
}

// A forward that fails changes nothing in the cache: its rows are tried one by one, and those that fail alone end their requests.
void Batch::pass(int type, std::span<Row> rows) {
  Outcome outcome;
  try {
    outcome = forward(type, rows);
  } catch (const std::exception& error) {
    if (rows.size() == 1) return end_job(*rows.front().job, End::Kind::failed, error.what());
    for (Row& row : rows) {
      if (!row.job->is_ended && row.choice->place == Place::live) pass(type, {&row, 1});
    }
    return;
  }
  take(rows, outcome);
}

std::vector<ForwardItem> Batch::items_of(std::span<const Row> rows) {
  std::vector<ForwardItem> items;
  for (const Row& row : rows) {
    const Request& request = row.job->request;
    if (!row.is_chunk()) {
      items.push_back({row.choice->sequence, std::span(&row.choice->made.back(), 1), ForwardLogits::last, RowKind::decode});
      continue;
    }
    const bool begins_answer = row.end == row.job->prompt_tokens() && request.max_tokens != 0;
    const auto tokens =
        std::span(request.prompt).subspan(static_cast<std::size_t>(row.begin), static_cast<std::size_t>(row.end - row.begin));
    const ForwardLogits wanted = request.prompt_scores ? ForwardLogits::all
                                 : begins_answer       ? ForwardLogits::last
                                                       : ForwardLogits::none;
    items.push_back({row.choice->sequence, tokens, wanted, RowKind::prompt});
  }
  return items;
}

// Logits of a prompt with scores come by blocks, and are gone after: each row tells of the next token, the last one of the answer.
Batch::Outcome Batch::forward(int type, std::span<const Row> rows) {
  Outcome out;
  const auto vocab = static_cast<std::size_t>(model_.config().vocab_size);
  const auto score = [&](std::size_t item, std::int64_t first, std::span<const float> logits) {
    const Request& request = rows[item].job->request;
    const auto count = static_cast<std::int64_t>(logits.size() / vocab), position = rows[item].begin + first + 1;
    const std::int64_t scored = std::min(count, std::ssize(request.prompt) - position), before = std::ssize(out.scores);
    out.scores.resize(static_cast<std::size_t>(before + scored));
    threads_.run(scored, [&](std::int64_t i, int) {
      const Token token = request.prompt[static_cast<std::size_t>(position + i)];
      const auto row = of_tokens(logits.subspan(static_cast<std::size_t>(i) * vocab, vocab));
      out.scores[static_cast<std::size_t>(before + i)] = score_token(row, token, *request.prompt_scores);
    });
    if (scored < count) out.after_prompt.assign(logits.end() - static_cast<std::ptrdiff_t>(vocab), logits.end());
  };
  const std::vector<ForwardItem> items = items_of(rows);
  out.logits = model_.forward(cache(type).cache(), items, {.arithmetic = config_.arithmetic, .observe_kv = {}, .on_logits = score},
                              threads_);
  for (const ForwardItem& item : items) totals_.computed_tokens += std::ssize(item.tokens);
  return out;
}

void Batch::take(std::span<Row> rows, const Outcome& outcome) {
  const auto vocab = static_cast<std::size_t>(model_.config().vocab_size);
  std::vector<Draw> draws;
  std::span<const float> logits = outcome.logits;
  for (Row& row : rows) {
    if (row.is_chunk()) continue;
    draws.push_back({&row, logits.first(vocab)});
    logits = logits.subspan(vocab);
  }
  answer(draws);
  for (Row& row : rows) {
    if (!row.is_chunk()) continue;
    Job& job = *row.job;
    job.held = row.end;
    job.computed += row.end - row.begin;
    keep_prefix(job, *row.choice, std::span(job.request.prompt).first(static_cast<std::size_t>(row.end)));
    if (!outcome.scores.empty()) tell(job, [&](Listener& listener) { listener.on_prompt_scores(row.begin + 1, outcome.scores); });
    if (row.end < job.prompt_tokens() || job.is_ended) continue;
    finish_prompt(job, job.request.prompt_scores ? std::span<const float>(outcome.after_prompt) : logits);
  }
}

void Batch::end_all(End::Kind kind, const std::string& message) {
  for (const std::unique_ptr<Job>& job : queue_) end_job(*job, kind, message);
  for (const std::unique_ptr<Job>& job : active_) {
    if (!job->is_ended) end_job(*job, kind, message);
  }
  queue_.clear();
  sweep();
}

void Batch::sweep() {
  if (ended_.empty()) return;
  std::erase_if(active_, [](const std::unique_ptr<Job>& job) { return job->is_ended; });
  ended_.clear();
}

}  // namespace qjl::engine
