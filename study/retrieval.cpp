// retrieval.hpp has the procedure.
#include "retrieval.hpp"

#include <algorithm>

#include "finite.hpp"
#include "qjl/codec.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

// Tokens that all prompts begin with; every prompt keeps one of its own at least, whose logits begin the answer.
std::size_t shared_tokens(std::span<const RetrievalQuestion> questions) {
  const auto refuse = [](const char* what) { throw Error(ErrorKind::invalid_argument, std::string("[retrieval] ") + what); };
  if (questions.empty()) refuse("found no question, wanted at least one");
  const auto& first = questions.front().prompt;
  std::size_t shared = first.size();
  for (const auto& question : questions) {
    if (question.answer.empty()) refuse("found an empty answer, wanted at least one token");
    if (question.prompt.empty()) refuse("found an empty prompt, wanted at least two tokens");
    const auto end = std::mismatch(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(shared), question.prompt.begin(),
                                   question.prompt.end() - 1);
    shared = static_cast<std::size_t>(end.first - first.begin());
  }
  if (shared == 0) refuse("found prompts that share no token, wanted a common context");
  return shared;
}

void fill_caches(Model& model, std::span<const Token> context, std::span<TrialCache> caches, ThreadPool& threads) {
  KvCache exact(model.cache_config(codec_config("f16"), std::ssize(context)));
  const SequenceId sequence = exact.create();
  const ForwardItem item{sequence, context};
  ForwardOptions options;
  options.logits = ForwardOptions::Logits::none;
  options.observe_kv = [&](int layer, std::size_t, const TensorView& keys, const TensorView& values) {
    for (TrialCache& trial : caches) trial.append_prompt(layer, keys, values, threads);
  };
  model.forward(exact, {&item, 1}, options, threads);
  for (TrialCache& trial : caches) trial.copy_state(exact, sequence);
}

RetrievalAnswer answer(Model& model, TrialCache& trial, const RetrievalQuestion& question, std::size_t shared,
                       ThreadPool& threads) {
  const SequenceId sequence = trial.cache().fork(trial.sequence());
  RetrievalAnswer given;
  std::span<const Token> next = std::span(question.prompt).subspan(shared);
  for (std::size_t i = 0; i < question.answer.size(); ++i) {
    const ForwardItem item{sequence, next};
    const auto logits = model.forward(trial.cache(), {&item, 1}, {}, threads);
    require_finite(logits, "logits");
    given.tokens.push_back(static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    next = std::span(given.tokens).last(1);
  }
  trial.cache().drop(sequence);
  given.right = given.tokens == question.answer;
  return given;
}

}  // namespace

std::int64_t longest_sequence(std::span<const RetrievalQuestion> questions) {
  std::int64_t longest = 0;
  for (const auto& question : questions) longest = std::max(longest, std::ssize(question.prompt) + std::ssize(question.answer));
  return longest;
}

std::vector<std::vector<RetrievalAnswer>> ask_caches(Model& model, std::span<const RetrievalQuestion> questions,
                                                     std::span<TrialCache> caches, ThreadPool& threads, const Progress& progress) {
  const std::size_t shared = shared_tokens(questions);
  fill_caches(model, std::span(questions.front().prompt).first(shared), caches, threads);
  std::vector<std::vector<RetrievalAnswer>> answers;
  std::int64_t done = 0;
  const std::int64_t total = std::ssize(caches) * std::ssize(questions);
  for (TrialCache& trial : caches) {
    auto& row = answers.emplace_back();
    for (const auto& question : questions) {
      row.push_back(answer(model, trial, question, shared, threads));
      if (progress) progress(++done, total);
    }
  }
  return answers;
}

}  // namespace qjl::engine
