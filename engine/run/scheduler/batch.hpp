// The scheduler's inside, on one thread: which requests are in, and what a step of them is.
//
//   step = cancelled ones leave; parked ones return, waiting ones enter while their pages fit;
//          then for each cache type one forward: the next token of every live choice, and one chunk of one prompt
//
// batch.cpp is the step, admission.cpp who is in, answers.cpp what comes of logits.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <exception>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "accounts.hpp"
#include "job.hpp"
#include "qjl/threads.hpp"
#include "scheduler.hpp"

namespace qjl::engine {

class PrefixStore;

class Batch {
 public:
  // As Scheduler's, whose config is complete.
  Batch(Model& model, const Tokenizer& tokenizer, ThreadPool& threads, const SchedulerConfig& config);
  ~Batch();

  void submit(std::unique_ptr<Job> job);  // checked
  // Returns false when there was nothing to do.
  bool step();
  // Ends everything that is in.
  void end_all(End::Kind kind, const std::string& message);

  std::size_t num_waiting() const { return queue_.size(); }
  std::size_t num_active() const { return active_.size(); }
  Accounts accounts() const;
  TypedCache& cache(int type) { return *caches_[static_cast<std::size_t>(type)]; }
  const TypedCache& cache(int type) const { return *caches_[static_cast<std::size_t>(type)]; }
  std::span<const std::unique_ptr<TypedCache>> caches() const { return caches_; }
  // Prefixes found in files are asked for when a request enters. May be null.
  void use_store(PrefixStore* store) { store_ = store; }

 private:
  struct Row {  // of a pass: the next token of a choice, or a chunk of a prompt
    Job* job;
    Choice* choice;
    std::int64_t begin = 0, end = 0;  // of the prompt
    bool is_chunk() const { return end > 0; }
  };
  struct Outcome {  // of a forward: rows of `last` in order, valid until the next one
    std::span<const float> logits = {};
    std::vector<ScoredToken> scores = {};  // of a chunk's next tokens
    std::vector<float> after_prompt = {};  // the last row of a prompt with scores
  };
  using JobList = std::list<std::unique_ptr<Job>>;

  // admission.cpp
  void end_cancelled();
  void admit();
  bool admit_waiting(int type);
  bool enter(Job& job);
  bool return_parked(Job& job, Choice& choice);
  bool start_choice(Job& job, Choice& choice);
  bool grow(Job& job, Choice& choice);
  TypedCache::Promises promises(int type, const Choice* except) const;
  bool park_youngest(int type, const Choice* older_than);
  void park(Job& job, Choice& choice);
  void give_back(Job& job, Choice& choice);
  void share_prefix(Job& job);
  void keep_prefix(Job& job, Choice& choice, std::span<const Token> text);

  // batch.cpp
  Job* next_reader();
  std::vector<Row> rows_of(int type, Job* reader);
  void pass(int type, std::span<Row> rows);
  std::vector<ForwardItem> items_of(std::span<const Row> rows);
  Outcome forward(int type, std::span<const Row> rows);
  void take(std::span<Row> rows, const Outcome& outcome);

  // answers.cpp
  struct Draw {
    Row* row;
    std::span<const float> logits;
    ScoredToken token = {};
    std::vector<std::uint32_t> mask = {};
    std::string fault = {};
  };
  void draw(Draw& draw) const;
  // Of a row of logits what stands for tokens: models pad their vocabulary beyond the tokenizer's.
  std::span<const float> of_tokens(std::span<const float> row) const {
    return row.first(std::min(row.size(), static_cast<std::size_t>(tokenizer_.vocab_size())));
  }
  void answer(std::span<Draw> draws);
  void finish_prompt(Job& job, std::span<const float> logits);
  void deliver(Job& job, Choice& choice, const ScoredToken& token);
  void end_choice(Job& job, Choice& choice, ChoiceFinish finish);
  void end_job(Job& job, End::Kind kind, const std::string& message);
  void count_usage(Job& job, const Choice& choice);
  std::vector<Token> banned(const Job& job, const Choice& choice) const;
  bool ends_text(const Job& job, Token token) const;
  // A listener that throws loses its request.
  template <typename Call>
  void tell(Job& job, const Call& call) {
    if (job.is_ended || !job.request.listener) return;
    try {
      call(*job.request.listener);
    } catch (const std::exception& error) {
      end_job(job, End::Kind::failed, error.what());
    }
  }
  void sweep();  // forgets ended jobs

  Model& model_;
  const Tokenizer& tokenizer_;
  ThreadPool& threads_;
  const SchedulerConfig& config_;
  std::vector<std::unique_ptr<TypedCache>> caches_;
  PrefixStore* store_ = nullptr;
  std::deque<std::unique_ptr<Job>> queue_;
  JobList active_;                // in order of entrance
  std::vector<Job*> ended_;       // still in active_
  std::int64_t last_reader_ = 0;  // the job whose chunk came last
  Accounts totals_;
};

}  // namespace qjl::engine
