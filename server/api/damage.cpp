// POST /cache/damage: a text through the exact cache and through the served one: what compression did to every token.
#include "chat_prompt.hpp"
#include "qjl/codec.hpp"
#include "service.hpp"
#include "token_text.hpp"

namespace qjl::server {
namespace {

// A token's text is what it completes: characters that several tokens make stand at the last of them.
Json token_list(const engine::Tokenizer& tokenizer, const std::vector<engine::Token>& tokens, const engine::Damage& damage) {
  Json list = Json::array();
  engine::Utf8Stream characters;
  for (std::size_t i = 0; i < tokens.size() && i < damage.kl.size(); ++i) {
    std::string text = characters.feed(shown_text(tokenizer, tokens[i]));
    if (i + 1 == tokens.size()) text += characters.finish();
    list.push_back({{"token", tokens[i]}, {"text", text}, {"kl", damage.kl[i]}, {"same_top", damage.is_top[i] != 0}});
  }
  return list;
}

}  // namespace

void post_damage(Service& service, const Call& call) {
  const Json body = parse_body(call.request.body);
  Fields fields(body);
  const int cache_type = service.model().cache_type(fields);
  const auto chunk = fields.whole("chunk", kTokensPerPage, service.model().config().most_chunk).value_or(0);
  if (chunk % kTokensPerPage != 0) refuse_field("chunk", "the number " + std::to_string(chunk), "a multiple of 128");
  std::vector<engine::Token> tokens;
  if (fields.has("messages")) {
    tokens = chat_tokens(service.model(), fields);
  } else {
    const char* name = fields.has("text") ? "text" : "prompt";
    fields.required(name, "a text (or `messages`)");
    tokens = service.model().prompt_tokens(*fields.text(name));
  }
  if (tokens.size() < 2) refuse_field("prompt", std::to_string(tokens.size()) + " tokens", "at least 2");
  const auto headers = answer_headers(call, fields.unknown());
  auto taken = service.scheduler().measure_damage(
      tokens, cache_type, chunk,
      [&service, reply = call.reply, headers, tokens, cache_type](const engine::Damage& damage, const std::string& error) {
        if (!error.empty()) return reply->send(fault_response({.status = 500, .message = error, .code = "request_failed"}));
        service.workers().post([&service, reply, headers, tokens, cache_type, damage] {
          try {
            const Json json = {{"model", service.model().model_id(cache_type)},
                               {"cache_type", service.scheduler().config().cache_types[static_cast<std::size_t>(cache_type)].name},
                               {"num_tokens", tokens.size()},
                               {"mean_kl", damage.mean_kl},
                               {"same_top", damage.same_top},
                               {"tokens", token_list(service.model().tokenizer(), tokens, damage)}};
            reply->send({.body = dump(json), .headers = headers});
          } catch (const std::exception&) {
            reply->send(fault_response(internal_fault()));
          }
        });
      });
  if (auto* refusal = std::get_if<engine::Refusal>(&taken)) throw Refused(refusal_fault(*refusal));
  call.reply->on_gone([ticket = std::get<engine::Ticket>(taken)] { ticket.cancel(); });
}

}  // namespace qjl::server
