// evaluate: the exact cache and all others walk through the text side by side, one page at a time, so that only one page's exact
// logits are held. eval.hpp has the protocol, eval_metrics.hpp the formulas.
#include "eval.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "eval_metrics.hpp"
#include "finite.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"
#include "trial_cache.hpp"
#include "weights.hpp"

namespace qjl::engine {
namespace {

constexpr std::int64_t kFloorChunk = kMatvecTokens;  // so small that every product takes the other way than a page's

// What one cache said at every position.
struct Scores {
  std::vector<double> kld, same_top1;  // [positions]
  std::vector<double> surprise;        // -log q(next token), [positions - 1]
};

struct Run {
  TrialCache trial;
  Scores scores;
  double seconds = 0;
};

class Evaluation {
 public:
  Evaluation(Model& model, std::span<const Token> tokens, const EvalConfig& config, ThreadPool& threads, const Progress& progress)
      : model_(model),
        threads_(threads),
        progress_(progress),
        prompt_(config.prompt.value_or(config.context * 3 / 4)),
        context_(config.context),
        arithmetic_(config.arithmetic),
        exact_{make_exact(tokens), empty_scores()} {
    tokens_ = tokens.first(static_cast<std::size_t>(context_));
    for (const std::string& name : config.caches)
      add_run(TrialCache(name, model.config(), model.cache_config(codec_config("f16"), context_)));
    for (const EvalCache& made : config.made_caches) add_run(TrialCache(made.name, made.config));
  }

  EvalReport report();

 private:
  void check(std::span<const Token> tokens) const;
  TrialCache make_exact(std::span<const Token> tokens) const;
  Scores empty_scores() const;
  void add_run(TrialCache trial);
  void process_prompt();
  void process_page(std::int64_t begin, std::int64_t end);
  std::span<const float> decode(KvCache& cache, SequenceId sequence, std::int64_t begin, std::int64_t end,
                                Arithmetic arithmetic = Arithmetic::exact);
  void remember_exact(std::int64_t begin, std::span<const float> logits);
  void compare(std::int64_t begin, std::span<const float> logits, Scores& scores);
  void score_next(std::int64_t position, std::span<const float> logits, double normaliser, Scores& scores) const;
  EvalResult result(const Run& run) const;
  void advance(std::int64_t positions) {
    done_ += positions;
    if (progress_) progress_(done_, (context_ - prompt_) * std::ssize(runs_) + context_);
  }

  Model& model_;
  ThreadPool& threads_;
  const Progress& progress_;
  std::int64_t prompt_, context_;
  Arithmetic arithmetic_;
  std::span<const Token> tokens_;
  Run exact_;
  std::vector<Run> runs_;
  SequenceId floor_sequence_{};
  Scores floor_;
  std::int64_t page_begin_ = 0;
  std::vector<float> page_logits_;        // the exact cache's, of the page at hand: [positions, vocab]
  std::vector<double> page_normalisers_;  // [positions]
  std::int64_t done_ = 0;
};

[[noreturn]] void refuse(const char* what, std::int64_t found, const std::string& wanted) {
  throw Error(ErrorKind::invalid_argument, "[eval] " + std::string(what) + " is " + std::to_string(found) + ", wanted " + wanted);
}

void Evaluation::check(std::span<const Token> tokens) const {
  if (context_ < 2 || context_ > kMostContext) refuse("context", context_, "2 to " + std::to_string(kMostContext));
  if (std::ssize(tokens) < context_)
    refuse("the text's length in tokens", std::ssize(tokens), "at least the context " + std::to_string(context_));
  if (prompt_ < 0 || prompt_ > context_ - 2)
    refuse("prompt", prompt_, "0 to " + std::to_string(context_ - 2) + ", so that two positions are scored");
  const std::int64_t vocab = model_.config().vocab_size;
  for (const Token token : tokens) {
    if (token < 0 || token >= vocab) refuse("a token", token, "0 to " + std::to_string(vocab - 1) + ", the model's vocabulary");
  }
}

// Two sequences: a fork of the first gives the floor.
TrialCache Evaluation::make_exact(std::span<const Token> tokens) const {
  check(tokens);
  return TrialCache("f16", model_.cache_config(codec_config("f16"), context_, 2));
}

Scores Evaluation::empty_scores() const {
  const auto positions = static_cast<std::size_t>(context_ - prompt_);
  return {std::vector<double>(positions), std::vector<double>(positions), std::vector<double>(positions - 1)};
}

void Evaluation::add_run(TrialCache trial) {
  if (trial.learns() && prompt_ < 2) refuse("prompt", prompt_, "2 or more, for " + trial.name() + " learns from it");
  runs_.push_back({std::move(trial), empty_scores()});
}

// Keys and values of an exact cache do not depend on who reads them, so one pass fills every cache; fast arithmetic has its own.
void Evaluation::process_prompt() {
  if (prompt_ > 0) {
    ForwardOptions options;
    options.logits = ForwardOptions::Logits::none;
    const auto fill = [this](int layer, std::size_t, const TensorView& keys, const TensorView& values) {
      for (Run& run : runs_) run.trial.append_prompt(layer, keys, values, threads_);
    };
    const auto pass = [&](TrialCache& trial) {
      const ForwardItem item{trial.sequence(), tokens_.first(static_cast<std::size_t>(prompt_))};
      model_.forward(trial.cache(), {&item, 1}, options, threads_);
      for (Run& run : runs_) {
        if (options.observe_kv) run.trial.copy_state(trial.cache(), trial.sequence());
      }
    };
    if (arithmetic_ == Arithmetic::exact) options.observe_kv = fill;
    pass(exact_.trial);
    if (arithmetic_ == Arithmetic::fast && !runs_.empty()) {
      options.observe_kv = fill;
      options.arithmetic = arithmetic_;
      TrialCache passing("f16", model_.cache_config(codec_config("f16"), context_));
      pass(passing);
    }
  }
  floor_sequence_ = exact_.trial.cache().fork(exact_.trial.sequence());
  floor_ = exact_.scores;
  advance(prompt_);
}

// Logits [end - begin, vocab] of the tokens at [begin, end).
std::span<const float> Evaluation::decode(KvCache& cache, SequenceId sequence, std::int64_t begin, std::int64_t end,
                                          Arithmetic arithmetic) {
  const ForwardItem item{sequence, tokens_.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin))};
  ForwardOptions options;
  options.logits = ForwardOptions::Logits::all;
  options.arithmetic = arithmetic;
  const std::span<const float> logits = model_.forward(cache, {&item, 1}, options, threads_);
  require_finite(logits, "logits");
  return logits;
}

void Evaluation::score_next(std::int64_t position, std::span<const float> logits, double normaliser, Scores& scores) const {
  if (position + 1 >= context_) return;
  const Token next = tokens_[static_cast<std::size_t>(position + 1)];
  scores.surprise[static_cast<std::size_t>(position - prompt_)] = normaliser - logits[static_cast<std::size_t>(next)];
}

void Evaluation::remember_exact(std::int64_t begin, std::span<const float> logits) {
  page_begin_ = begin;
  page_logits_.assign(logits.begin(), logits.end());
  const auto vocab = static_cast<std::size_t>(model_.config().vocab_size);
  page_normalisers_.resize(logits.size() / vocab);
  threads_.run(std::ssize(page_normalisers_), [&](std::int64_t i, int) {
    const std::span<const float> row = std::span(page_logits_).subspan(static_cast<std::size_t>(i) * vocab, vocab);
    page_normalisers_[static_cast<std::size_t>(i)] = log_sum_exp(row);
    score_next(begin + i, row, page_normalisers_[static_cast<std::size_t>(i)], exact_.scores);
  });
}

void Evaluation::compare(std::int64_t begin, std::span<const float> logits, Scores& scores) {
  const auto vocab = static_cast<std::size_t>(model_.config().vocab_size);
  threads_.run(static_cast<std::int64_t>(logits.size() / vocab), [&](std::int64_t i, int) {
    const std::span<const float> row = logits.subspan(static_cast<std::size_t>(i) * vocab, vocab);
    const auto in_page = static_cast<std::size_t>(begin + i - page_begin_), idx = static_cast<std::size_t>(begin + i - prompt_);
    const double normaliser = log_sum_exp(row);
    const auto compared =
        compare_logits(std::span(page_logits_).subspan(in_page * vocab, vocab), page_normalisers_[in_page], row, normaliser);
    scores.kld[idx] = compared.kld;
    scores.same_top1[idx] = compared.same_top1 ? 1.0 : 0.0;
    score_next(begin + i, row, normaliser, scores);
  });
}

void Evaluation::process_page(std::int64_t begin, std::int64_t end) {
  remember_exact(begin, decode(exact_.trial.cache(), exact_.trial.sequence(), begin, end));
  for (std::int64_t from = begin; from < end; from += kFloorChunk) {
    compare(from, decode(exact_.trial.cache(), floor_sequence_, from, std::min(from + kFloorChunk, end)), floor_);
  }
  advance(end - begin);
  for (Run& run : runs_) {
    const auto start = std::chrono::steady_clock::now();
    compare(begin, decode(run.trial.cache(), run.trial.sequence(), begin, end, arithmetic_), run.scores);
    run.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    advance(end - begin);
  }
}

EvalResult Evaluation::result(const Run& run) const {
  EvalResult r;
  r.cache = run.trial.name();
  r.simulated = run.trial.simulated();
  r.bits = run.trial.bits();
  r.bits_sealed = run.trial.bits_sealed();
  r.cache_mb = run.trial.megabytes();
  PagedMean kld = paged_mean(run.scores.kld, prompt_);
  r.kld_mean = kld.mean;
  r.kld_se = kld.se;
  r.kld_by_page = std::move(kld.by_page);
  r.kld_median = nearest_rank(run.scores.kld, 0.5);
  r.kld_p999 = nearest_rank(run.scores.kld, 0.999);
  const PagedMean same = paged_mean(run.scores.same_top1, prompt_);
  r.same_top1 = same.mean;
  r.same_top1_se = same.se;
  std::vector<double> difference = run.scores.surprise;
  for (std::size_t i = 0; i < difference.size(); ++i) difference[i] -= exact_.scores.surprise[i];
  r.ppl = std::exp(paged_mean(run.scores.surprise, prompt_).mean);
  r.ppl_exact = std::exp(paged_mean(exact_.scores.surprise, prompt_).mean);
  r.ppl_ratio_se = paged_mean(difference, prompt_).se;
  r.positions = context_ - prompt_;
  r.seconds = run.seconds;
  return r;
}

EvalReport Evaluation::report() {
  process_prompt();
  for (std::int64_t begin = prompt_; begin < context_;) {
    const std::int64_t end = std::min(context_, (begin / kTokensPerPage + 1) * kTokensPerPage);
    process_page(begin, end);
    begin = end;
  }
  EvalReport report;
  for (const Run& run : runs_) report.results.push_back(result(run));
  report.floor_kld = paged_mean(floor_.kld, prompt_).mean;
  report.peak_scratch_bytes = model_.peak_scratch_bytes();
  return report;
}

}  // namespace

EvalReport evaluate(Model& model, std::span<const Token> tokens, const EvalConfig& config, ThreadPool& threads,
                    const Progress& progress) {
  return Evaluation(model, tokens, config, threads, progress).report();
}

}  // namespace qjl::engine
