// `qjl study retrieval`: whether caches still find a fact in a long chat prompt.
//
//   a case: a context and questions about it; a row: (model, case, cache) -> right[question], and what was answered
//
// Cases come from a file (retrieval_cases.hpp): the user's message is the context and a question, `prefix` is the given beginning
// of the assistant's answer. The tokens that all prompts of a case share are processed once, exactly; study/retrieval.hpp has the
// rest.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "files.hpp"
#include "generation.hpp"
#include "interrupt.hpp"
#include "progress.hpp"
#include "qjl/error.hpp"
#include "result_rows.hpp"
#include "retrieval.hpp"
#include "retrieval_cases.hpp"
#include "study.hpp"

namespace qjl::cli {
namespace {

using Json = nlohmann::ordered_json;

struct RetrievalOptions : StudyOptions {
  std::string cases;
  std::string chat_template = "auto";
};

class RetrievalStudy {
 public:
  RetrievalStudy(const RetrievalOptions& options)
      : rows_(options.results, {"model", "case", "cache"}),
        loaded_(options.model),
        caches_(loaded_, options),
        template_(chat_template(loaded_, options.chat_template)),
        cases_(read_cases(read_text(options.cases), options.cases)) {}

  void run() {
    Progress bar("retrieval");
    std::int64_t done = 0;
    for (const Json& one : cases_) {
      ask(one);
      bar.update(++done, std::ssize(cases_));
    }
  }

 private:
  Json key(const Json& one, const std::string& cache) const {
    return {{"model", model_name(loaded_)}, {"case", one["case"]}, {"cache", cache}};
  }

  // The answer's tokens are those that its text adds to the prefix.
  engine::RetrievalQuestion question(const Json& one, const Json& asked) const {
    const auto& tokenizer = loaded_.tokenizer;
    const auto text = one["context"].get<std::string>() + asked["question"].get<std::string>();
    const auto prefix = asked["prefix"].get<std::string>(), answer = asked["answer"].get<std::string>();
    auto prompt = template_.tokens(tokenizer, engine::ChatJson::array({engine::chat_message("user", text)}));
    const auto given = tokenizer.encode(prefix, engine::Tokenizer::Special::text);
    const auto whole = tokenizer.encode(prefix + answer, engine::Tokenizer::Special::text);
    const auto split = std::mismatch(whole.begin(), whole.end(), given.begin(), given.end()).first;
    prompt.insert(prompt.end(), whole.begin(), split);
    return {std::move(prompt), {split, whole.end()}};
  }

  void ask(const Json& one) {
    std::vector<std::string> missing;
    for (const auto& cache : caches_.names()) {
      if (caches_.is_missing(cache, rows_.find(key(one, cache)))) missing.push_back(cache);
    }
    if (missing.empty()) return;
    std::vector<engine::RetrievalQuestion> questions;
    for (const Json& asked : one["questions"]) questions.push_back(question(one, asked));
    const std::int64_t room = engine::longest_sequence(questions);
    if (room > loaded_.model.config().context_length) {
      spdlog::warn("{} needs {} tokens, the model has {}: left out", json_line(one["case"]), room, loaded_.context);
      return;
    }
    std::vector<engine::TrialCache> caches;
    for (const auto& name : missing) caches.push_back(caches_.make(name, room, 2));
    const auto answers = engine::ask_caches(loaded_.model, questions, caches, loaded_.threads,
                                            [](std::int64_t, std::int64_t) { check_interrupt(); });
    for (std::size_t i = 0; i < missing.size(); ++i) rows_.put(row(one, caches[i], room, answers[i]));
    rows_.save();
  }

  Json row(const Json& one, const engine::TrialCache& cache, std::int64_t tokens,
           const std::vector<engine::RetrievalAnswer>& answers) const {
    Json row = key(one, cache.name());
    row["version"] = caches_.version(cache.name());
    row["bits_sealed"] = short_number(cache.bits_sealed());
    row["type"] = one.value("type", "");
    row["length"] = one.value("length", 0);
    row["tokens"] = tokens;
    for (const char* field : {"depth", "right", "given"}) row[field] = Json::array();
    for (std::size_t i = 0; i < answers.size(); ++i) {
      row["depth"].push_back(one["questions"][i].value("depth", 0.0));
      row["right"].push_back(answers[i].right ? 1 : 0);
      row["given"].push_back(loaded_.tokenizer.decode(answers[i].tokens));
    }
    return row;
  }

  ResultRows rows_;
  LoadedModel loaded_;
  StudyCaches caches_;
  engine::ChatTemplate template_;
  std::vector<Json> cases_;
};

}  // namespace

Verb add_study_retrieval(CLI::App& study) {
  auto options = std::make_shared<RetrievalOptions>();
  options->caches = {"f16", "k2v2", "k3v2", "k3v3", "k4v3", "k4v4"};
  auto* command = study.add_subcommand("retrieval", "facts found in long chat prompts, by type, length and depth");
  add_study_options(*command, *options);
  command->add_option("--cases", options->cases, "cases, JSON lines (tools/retrieval_cases.py writes them)")
      ->required()
      ->group("Text");
  command->add_option("--chat-template", options->chat_template, "auto (the model's), chatml, llama2 ...")->group("Text");
  return {command, [options] {
            RetrievalStudy(*options).run();
            return Exit::ok;
          }};
}

}  // namespace qjl::cli
