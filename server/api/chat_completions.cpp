// POST /v1/chat/completions: a conversation through the model's template, answers as messages.
#include "chat_prompt.hpp"
#include "generation.hpp"
#include "token_text.hpp"

namespace qjl::server {
namespace {

constexpr std::int64_t kManyTokens = std::int64_t{1} << 30;

Json score_json(const engine::Tokenizer& tokenizer, engine::Token token, float logprob) {
  Json bytes = Json::array();
  for (const char c : shown_text(tokenizer, token)) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token", token_name(tokenizer, token)}, {"logprob", logprob}, {"bytes", bytes}};
}

Json score_content(const engine::Tokenizer& tokenizer, const std::vector<PlacedToken>& tokens) {
  Json content = Json::array();
  for (const PlacedToken& each : tokens) {
    Json json = score_json(tokenizer, each.scored.token, each.scored.logprob);
    Json top = Json::array();
    for (const auto& score : each.scored.top) top.push_back(score_json(tokenizer, score.token, score.logprob));
    json["top_logprobs"] = std::move(top);
    content.push_back(std::move(json));
  }
  return {{"content", content}, {"refusal", nullptr}};
}

Json ids(const std::vector<PlacedToken>& tokens) {
  Json list = Json::array();
  for (const PlacedToken& each : tokens) list.push_back(each.scored.token);
  return list;
}

class ChatForm : public AnswerForm {
 public:
  explicit ChatForm(const engine::Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string id_prefix() const override { return "chatcmpl-"; }
  std::string object(bool stream) const override { return stream ? "chat.completion.chunk" : "chat.completion"; }

  Json whole(const Choice& choice) const override {
    Json json = {{"message", {{"role", "assistant"}, {"content", choice.text}, {"refusal", nullptr}}},
                 {"logprobs", scores(choice, choice.tokens)}};
    if (choice.returns_ids) {
      json["token_ids"] = ids(choice.tokens);
      json["prompt_token_ids"] = *choice.prompt;
    }
    return json;
  }

  Json piece(const Choice& choice, const TextPiece& piece, bool is_first) const override {
    Json delta = is_first ? Json{{"role", "assistant"}, {"content", piece.text}} : Json::object();
    if (!is_first && !piece.text.empty()) delta["content"] = piece.text;
    Json json = {{"index", choice.index}, {"delta", delta}, {"logprobs", scores(choice, piece.tokens)}};
    if (choice.returns_ids) {
      json["token_ids"] = ids(piece.tokens);
      if (is_first) json["prompt_token_ids"] = *choice.prompt;
    }
    return json;
  }

 private:
  Json scores(const Choice& choice, const std::vector<PlacedToken>& tokens) const {
    return choice.has_scores ? score_content(tokenizer_, tokens) : Json(nullptr);
  }

  const engine::Tokenizer& tokenizer_;
};

}  // namespace

Asked read_chat(const ServedModel& model, const std::string& body) {
  const Json json = parse_body(body);
  Fields fields(json);
  Asked asked{.generation = read_generation(model, fields)};
  engine::Request& request = asked.generation.request;
  const bool scores = fields.flag("logprobs").value_or(false);
  const auto top = fields.whole("top_logprobs", 0, engine::kMostTopScores);
  if (top && !scores) refuse_field("top_logprobs", "a number without `logprobs`", "`logprobs`: true beside it");
  if (scores) request.token_scores = static_cast<int>(top.value_or(0));
  const auto older = fields.whole("max_tokens", 1, kManyTokens);
  const auto newer = fields.whole("max_completion_tokens", 1, kManyTokens);
  request.max_tokens = newer.value_or(older.value_or(model.config().max_tokens));
  fields.refuse({"echo"});
  asked.prompts.push_back({.tokens = chat_tokens(model, fields)});
  if (asked.prompts.front().tokens.empty()) refuse_field("messages", "an empty prompt", "at least one token");
  for (const auto& name : fields.unknown()) asked.generation.ignored.push_back(name);
  return asked;
}

void post_chat(Service& service, const Call& call) {
  generate(service, call, read_chat(service.model(), call.request.body), std::make_unique<ChatForm>(service.model().tokenizer()));
}

}  // namespace qjl::server
