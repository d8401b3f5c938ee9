// From the scheduler's calls to the client: text as it becomes certain, whole answers at the end.
//
// All calls of a scheduler's listeners come from one thread, so an answer needs a lock only for its tickets, which the thread that
// submits and the one that sees the client leave share; and for its beginning: the first call waits for the submission's end.
#include <array>
#include <cstdio>
#include <random>

#include "generation.hpp"
#include "token_text.hpp"
#include "usage_json.hpp"

namespace qjl::server {
namespace {

using engine::ScoredToken;
using engine::Token;

std::string random_id(const std::string& prefix) {
  std::random_device device;
  std::array<char, 25> digits{};
  std::snprintf(digits.data(), digits.size(), "%08x%08x%08x", device(), device(), device());
  return prefix + digits.data();
}

class Answer : public std::enable_shared_from_this<Answer> {
 public:
  Answer(Service& service, const Call& call, Asked asked, std::unique_ptr<AnswerForm> form)
      : service_(service),
        reply_(call.reply),
        generation_(std::move(asked.generation)),
        headers_(answer_headers(call, generation_.ignored)),
        prompts_(std::move(asked.prompts)),
        form_(std::move(form)),
        id_(random_id(form_->id_prefix())),
        open_(prompts_.size()) {
    const auto per_prompt = static_cast<std::size_t>(generation_.request.choices);
    for (std::size_t i = 0; i < prompts_.size() * per_prompt; ++i) {
      choices_.push_back({.index = static_cast<int>(i),
                          .prompt = generation_.returns_ids ? &prompts_[i / per_prompt].tokens : nullptr,
                          .returns_ids = generation_.returns_ids,
                          .has_scores = generation_.request.token_scores.has_value()});
      texts_.emplace_back(service_.model().tokenizer(), generation_.stops);
    }
  }

  void submit();
  void on_start();
  void on_prompt_scores(std::size_t prompt, std::int64_t first, std::span<const ScoredToken> scores);
  bool on_token(std::size_t choice, const ScoredToken& token, bool ends_text);
  void on_choice_end(std::size_t choice, engine::ChoiceFinish finish);
  void on_end(std::size_t prompt, const engine::End& end);

 private:
  void echo(std::size_t prompt);
  void emit(std::size_t choice, TextPiece piece);
  void finish();
  void send_chunk(Json choices, Json usage);
  void cancel();
  Json head(bool stream) const;
  void fail(const Fault& fault);

  Service& service_;
  const std::shared_ptr<Reply> reply_;
  Generation generation_;
  const Headers headers_;
  std::vector<Prompt> prompts_;
  const std::unique_ptr<AnswerForm> form_;
  const std::string id_;
  const std::time_t created_ = std::time(nullptr);

  std::vector<Choice> choices_;
  std::vector<ChoiceText> texts_;
  std::vector<std::vector<PlacedToken>> prompt_scores_ = std::vector<std::vector<PlacedToken>>(prompts_.size());
  std::vector<bool> echoed_ = std::vector<bool>(prompts_.size());
  std::vector<bool> begun_ = std::vector<bool>(prompts_.size() * static_cast<std::size_t>(generation_.request.choices));
  engine::Usage usage_;
  std::size_t open_;  // prompts that have not ended
  bool streaming_ = false, failed_ = false;

  std::mutex mutex_;
  std::vector<engine::Ticket> tickets_;
};

// One prompt's calls.
class PromptListener : public engine::Listener {
 public:
  PromptListener(std::shared_ptr<Answer> answer, std::size_t prompt, int choices)
      : answer_(std::move(answer)), prompt_(prompt), first_(prompt * static_cast<std::size_t>(choices)) {}
  void on_start(const engine::Usage&) override { answer_->on_start(); }
  void on_prompt_scores(std::int64_t first, std::span<const ScoredToken> scores) override {
    answer_->on_prompt_scores(prompt_, first, scores);
  }
  bool on_token(int choice, const ScoredToken& token, bool ends_text) override {
    return answer_->on_token(first_ + static_cast<std::size_t>(choice), token, ends_text);
  }
  void on_choice_end(int choice, engine::ChoiceFinish finish) override {
    answer_->on_choice_end(first_ + static_cast<std::size_t>(choice), finish);
  }
  void on_end(const engine::End& end) override { answer_->on_end(prompt_, end); }

 private:
  std::shared_ptr<Answer> answer_;
  std::size_t prompt_, first_;
};

void Answer::submit() {
  std::vector<engine::Request> requests;
  for (std::size_t i = 0; i < prompts_.size(); ++i) {
    engine::Request request = generation_.request;
    request.prompt = prompts_[i].tokens;
    request.listener = std::make_shared<PromptListener>(shared_from_this(), i, request.choices);
    requests.push_back(std::move(request));
  }
  {
    const std::lock_guard lock(mutex_);
    auto taken = service_.scheduler().submit(std::move(requests));
    if (auto* refusal = std::get_if<engine::Refusal>(&taken)) throw Refused(refusal_fault(*refusal));
    tickets_ = std::get<std::vector<engine::Ticket>>(std::move(taken));
    if (generation_.streams) reply_->begin(headers_);
  }
  // Weak: the reply is the answer's own.
  reply_->on_gone([answer = weak_from_this()] {
    if (const auto found = answer.lock()) found->cancel();
  });
}

void Answer::cancel() {
  const std::lock_guard lock(mutex_);
  for (const auto& ticket : tickets_) ticket.cancel();
}

// Nothing is told before the submission has come to its end.
void Answer::on_start() { const std::lock_guard lock(mutex_); }

void Answer::on_prompt_scores(std::size_t prompt, std::int64_t first, std::span<const ScoredToken> scores) {
  auto& placed = prompt_scores_[prompt];
  if (first == 1 && placed.empty()) placed.push_back({.scored = {.token = prompts_[prompt].tokens.front()}, .has_scores = false});
  for (const ScoredToken& each : scores) placed.push_back({.scored = each});
}

// Once, before a prompt's first token or its end.
void Answer::echo(std::size_t prompt) {
  if (echoed_[prompt]) return;
  echoed_[prompt] = true;
  if (!prompts_[prompt].echoes) return;
  auto& placed = prompt_scores_[prompt];
  if (placed.empty()) {  // no scores, or a prompt of one token
    for (const Token token : prompts_[prompt].tokens) placed.push_back({.scored = {.token = token}, .has_scores = false});
  }
  const auto choices = static_cast<std::size_t>(generation_.request.choices);
  for (std::size_t i = prompt * choices; i < (prompt + 1) * choices; ++i) emit(i, texts_[i].echo(prompts_[prompt].text, placed));
  placed.clear();
}

bool Answer::on_token(std::size_t choice, const ScoredToken& token, bool ends_text) {
  echo(choice / static_cast<std::size_t>(generation_.request.choices));
  TextPiece piece = texts_[choice].add(token, ends_text);
  if (!piece.text.empty() || !piece.tokens.empty()) emit(choice, std::move(piece));
  return !texts_[choice].stopped();
}

void Answer::on_choice_end(std::size_t choice, engine::ChoiceFinish finish) {
  echo(choice / static_cast<std::size_t>(generation_.request.choices));
  const bool stopped = finish == engine::ChoiceFinish::stop || texts_[choice].stopped();
  TextPiece rest = texts_[choice].finish();
  choices_[choice].finish = stopped || texts_[choice].stopped() ? "stop" : "length";
  emit(choice, std::move(rest));
}

void Answer::emit(std::size_t choice, TextPiece piece) {
  Choice& whole = choices_[choice];
  if (!generation_.streams) {
    whole.text += piece.text;
    for (auto& token : piece.tokens) whole.tokens.push_back(std::move(token));
    return;
  }
  const bool is_first = !begun_[choice];
  begun_[choice] = true;
  Json json = form_->piece(whole, piece, is_first);
  json["finish_reason"] = whole.finish ? Json(*whole.finish) : Json(nullptr);
  send_chunk(Json::array({json}), nullptr);
}

Json Answer::head(bool stream) const {
  return {{"id", id_},
          {"object", form_->object(stream)},
          {"created", created_},
          {"model", service_.model().model_id(generation_.request.cache_type)}};
}

void Answer::send_chunk(Json choices, Json usage) {
  Json chunk = head(true);
  chunk["choices"] = std::move(choices);
  if (generation_.includes_usage) chunk["usage"] = std::move(usage);
  reply_->event(dump(chunk));
}

void Answer::fail(const Fault& fault) {
  if (failed_) return;
  failed_ = true;
  if (generation_.streams) {
    reply_->event(fault_body(fault));
    reply_->end();
  } else {
    reply_->send(fault_response(fault));
  }
  cancel();
}

void Answer::on_end(std::size_t prompt, const engine::End& end) {
  on_start();  // where there was none
  using Kind = engine::End::Kind;
  if (end.kind == Kind::failed) fail({.status = 500, .message = end.message, .code = "request_failed"});
  if (end.kind == Kind::drained)
    fail({.status = 503, .message = "the server ends, this answer is not complete", .code = "draining"});
  if (end.kind == Kind::cancelled) failed_ = true;
  add_usage(usage_, end.usage);
  if (!failed_) echo(prompt);
  if (--open_ == 0 && !failed_) finish();
}

void Answer::finish() {
  if (generation_.streams) {
    if (generation_.includes_usage) send_chunk(Json::array(), usage_json(usage_));
    reply_->event("[DONE]");
    return reply_->end();
  }
  // Answers with scores are megabytes: not on the engine's thread.
  service_.workers().post([self = shared_from_this()] {
    try {
      Json answer = self->head(false);
      Json list = Json::array();
      for (const Choice& choice : self->choices_) {
        Json json = {{"index", choice.index}};
        json.update(self->form_->whole(choice));
        json["finish_reason"] = choice.finish.value_or("length");
        list.push_back(std::move(json));
      }
      answer["choices"] = std::move(list);
      answer["usage"] = usage_json(self->usage_);
      self->reply_->send({.body = dump(answer), .headers = self->headers_});
    } catch (const std::exception&) {
      self->reply_->send(fault_response(internal_fault()));
    }
  });
}

}  // namespace

void generate(Service& service, const Call& call, Asked asked, std::unique_ptr<AnswerForm> form) {
  std::make_shared<Answer>(service, call, std::move(asked), std::move(form))->submit();
}

}  // namespace qjl::server
