// POST /v1/completions: prompts as text or ids, echo, and log-probabilities in OpenAI's four lists.
#include <algorithm>

#include "generation.hpp"
#include "token_text.hpp"

namespace qjl::server {
namespace {

constexpr std::int64_t kUsualTokens = 16, kManyTokens = std::int64_t{1} << 30;
constexpr std::size_t kMostPrompts = 1024;

// The four lists. A token that has no scores, the first of a prompt, has null. Its own number is in its top list too, so that a
// client that compares the two finds the same float.
Json score_lists(const engine::Tokenizer& tokenizer, const std::vector<PlacedToken>& tokens) {
  Json names = Json::array(), numbers = Json::array(), tops = Json::array(), offsets = Json::array();
  for (const PlacedToken& each : tokens) {
    const std::string name = token_name(tokenizer, each.scored.token);
    names.push_back(name);
    offsets.push_back(each.begin_characters);
    if (!each.has_scores) {
      numbers.push_back(nullptr);
      tops.push_back(nullptr);
      continue;
    }
    Json top = Json::object();
    for (const auto& score : each.scored.top) {
      const std::string other = token_name(tokenizer, score.token);
      if (!top.contains(other)) top[other] = score.logprob;  // two tokens may have one text: the likelier counts
    }
    top[name] = each.scored.logprob;
    numbers.push_back(each.scored.logprob);
    tops.push_back(std::move(top));
  }
  return {{"tokens", names}, {"token_logprobs", numbers}, {"top_logprobs", tops}, {"text_offset", offsets}};
}

Json made_ids(const std::vector<PlacedToken>& tokens, std::size_t first) {
  Json ids = Json::array();
  for (std::size_t i = first; i < tokens.size(); ++i) ids.push_back(tokens[i].scored.token);
  return ids;
}

class CompletionForm : public AnswerForm {
 public:
  CompletionForm(const engine::Tokenizer& tokenizer, bool echoes) : tokenizer_(tokenizer), echoes_(echoes) {}
  std::string id_prefix() const override { return "cmpl-"; }
  std::string object(bool) const override { return "text_completion"; }

  Json whole(const Choice& choice) const override {
    Json json = {{"text", choice.text}, {"logprobs", scores(choice, choice.tokens)}};
    if (choice.returns_ids) {
      json["token_ids"] = made_ids(choice.tokens, echoes_ ? choice.prompt->size() : 0);
      json["prompt_token_ids"] = *choice.prompt;
    }
    return json;
  }

  Json piece(const Choice& choice, const TextPiece& piece, bool is_first) const override {
    Json json = {{"index", choice.index}, {"text", piece.text}, {"logprobs", scores(choice, piece.tokens)}};
    if (choice.returns_ids) {
      json["token_ids"] = made_ids(piece.tokens, is_first && echoes_ ? choice.prompt->size() : 0);
      if (is_first) json["prompt_token_ids"] = *choice.prompt;
    }
    return json;
  }

 private:
  Json scores(const Choice& choice, const std::vector<PlacedToken>& tokens) const {
    return choice.has_scores ? score_lists(tokenizer_, tokens) : Json(nullptr);
  }

  const engine::Tokenizer& tokenizer_;
  bool echoes_;
};

Prompt text_prompt(const ServedModel& model, const std::string& text) {
  return {.tokens = model.prompt_tokens(text), .text = text};
}

Prompt id_prompt(const ServedModel& model, const Json& list) {
  Prompt prompt{.tokens = read_ids(list, "prompt", model.tokenizer().vocab_size())};
  std::string bytes;
  for (const engine::Token token : prompt.tokens) bytes += model.tokenizer().piece(token);
  engine::Utf8Stream characters;
  prompt.text = characters.feed(bytes);
  prompt.text += characters.finish();
  return prompt;
}

std::vector<Prompt> read_prompts(const ServedModel& model, Fields& fields) {
  const std::string wanted = "a text, a list of texts, token ids or a list of lists of ids";
  const Json& given = fields.required("prompt", wanted);
  std::vector<Prompt> prompts;
  if (given.is_string()) {
    prompts.push_back(text_prompt(model, given.get_ref<const std::string&>()));
  } else if (!given.is_array() || given.empty() || (!given[0].is_number() && given.size() > kMostPrompts)) {
    refuse_field("prompt", describe(given), wanted + ", 1 to " + std::to_string(kMostPrompts));
  } else if (given[0].is_number()) {
    prompts.push_back(id_prompt(model, given));
  } else {
    for (const Json& each : given) {
      if (!each.is_string() && !each.is_array()) refuse_field("prompt", describe(each) + " in a list", wanted);
      prompts.push_back(each.is_string() ? text_prompt(model, each.get_ref<const std::string&>()) : id_prompt(model, each));
    }
  }
  for (const Prompt& prompt : prompts) {
    if (prompt.tokens.empty()) refuse_field("prompt", "an empty prompt", "at least one token");
  }
  return prompts;
}

}  // namespace

Asked read_completion(const ServedModel& model, const std::string& body) {
  const Json json = parse_body(body);
  Fields fields(json);
  Asked asked{.generation = read_generation(model, fields)};
  engine::Request& request = asked.generation.request;
  const bool echoes = fields.flag("echo").value_or(false);
  const auto scores = fields.whole("logprobs", 0, engine::kMostTopScores);
  const auto usual = model.config().max_tokens < 0 ? kUsualTokens : model.config().max_tokens;
  request.max_tokens = fields.whole("max_tokens", 0, kManyTokens).value_or(usual);
  if (request.max_tokens == 0 && !echoes) refuse_field("max_tokens", "the number 0", "at least 1 without `echo`");
  if (scores) request.token_scores = static_cast<int>(*scores);
  if (scores && echoes) request.prompt_scores = static_cast<int>(*scores);
  asked.prompts = read_prompts(model, fields);
  for (Prompt& prompt : asked.prompts) prompt.echoes = echoes;
  for (const auto& name : fields.unknown()) asked.generation.ignored.push_back(name);
  return asked;
}

void post_completions(Service& service, const Call& call) {
  Asked asked = read_completion(service.model(), call.request.body);
  const bool echoes = asked.prompts.front().echoes;
  generate(service, call, std::move(asked), std::make_unique<CompletionForm>(service.model().tokenizer(), echoes));
}

}  // namespace qjl::server
