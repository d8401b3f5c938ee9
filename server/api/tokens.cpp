// Text to tokens and back in the words of llama-server and of vLLM: either's fields are taken, the answers hold both sets of keys.
#include "chat_prompt.hpp"
#include "service.hpp"
#include "token_text.hpp"
#include "utf8.hpp"

namespace qjl::server {
namespace {

using engine::Token;

std::string whole_utf8(std::string_view bytes) {
  engine::Utf8Stream stream;
  return stream.feed(bytes) + stream.finish();
}

// llama-server adds no bos unless asked to (add_special), vLLM does unless asked not to (add_special_tokens).
std::vector<Token> asked_tokens(const ServedModel& model, Fields& fields) {
  const bool in_llama_words = fields.has("content");
  const auto add_special = fields.flag("add_special");
  const auto add_special_tokens = fields.flag("add_special_tokens");
  const bool parses = fields.flag("parse_special").value_or(true);
  if (fields.has("messages")) return chat_tokens(model, fields);
  const char* name = in_llama_words ? "content" : "prompt";
  fields.required(name, "a text (or `prompt`, or `messages`)");
  const std::string text = *fields.text(name);
  auto tokens = model.tokenizer().encode(text, parses ? engine::Tokenizer::Special::parse : engine::Tokenizer::Special::text);
  const auto& data = model.tokenizer().data();
  const bool wanted = add_special.value_or(add_special_tokens.value_or(!in_llama_words));
  const bool there = !tokens.empty() && tokens.front() == data.bos;
  if (wanted && data.add_bos && data.bos >= 0 && !there) tokens.insert(tokens.begin(), data.bos);
  return tokens;
}

// Bytes that are no whole character come as a list of numbers, as in llama-server.
Json piece_json(const engine::Tokenizer& tokenizer, Token token) {
  const std::string text = shown_text(tokenizer, token);
  if (engine::utf8_valid_prefix(text) == text.size()) return {{"id", token}, {"piece", text}};
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return {{"id", token}, {"piece", bytes}};
}

}  // namespace

void post_tokenize(Service& service, const Call& call) {
  const Json body = parse_body(call.request.body);
  Fields fields(body);
  const int cache_type = service.model().cache_type(fields);
  const auto tokens = asked_tokens(service.model(), fields);
  const bool with_pieces = fields.flag("with_pieces").value_or(false);
  const bool with_strings = fields.flag("return_token_strs").value_or(false);
  Json list = Json::array(), strings = Json::array();
  for (const Token token : tokens) {
    list.push_back(with_pieces ? piece_json(service.model().tokenizer(), token) : Json(token));
    if (with_strings) strings.push_back(token_name(service.model().tokenizer(), token));
  }
  send_json(call,
            {{"tokens", list},
             {"count", tokens.size()},
             {"max_model_len", service.max_model_len(cache_type)},
             {"token_strs", with_strings ? strings : Json(nullptr)}},
            answer_headers(call, fields.unknown()));
}

void post_detokenize(Service& service, const Call& call) {
  const Json body = parse_body(call.request.body);
  Fields fields(body);
  service.model().cache_type(fields);
  fields.required("tokens", "a list of token ids");
  std::string bytes;
  for (const Token token : fields.ids("tokens", service.model().tokenizer().vocab_size()))
    bytes += shown_text(service.model().tokenizer(), token);
  const std::string text = whole_utf8(bytes);
  send_json(call, {{"content", text}, {"prompt", text}}, answer_headers(call, fields.unknown()));
}

void get_tokenizer_info(Service& service, const Call& call) {
  const auto& data = service.model().tokenizer().data();
  const auto name = [&](Token token) {
    return token >= 0 && token < service.model().tokenizer().vocab_size() ? Json(shown_text(service.model().tokenizer(), token))
                                                                          : Json(nullptr);
  };
  send_json(call, {{"eos_token", name(data.eos)},
                   {"bos_token", name(data.bos)},
                   {"unk_token", name(data.unk)},
                   {"pad_token", name(data.eos)},
                   {"add_bos_token", data.add_bos},
                   {"vocab_size", service.model().tokenizer().vocab_size()},
                   {"model_max_length", service.max_model_len(0)},
                   {"chat_template", data.chat_template}});
}

void post_apply_template(Service& service, const Call& call) {
  const Json body = parse_body(call.request.body);
  Fields fields(body);
  service.model().cache_type(fields);
  std::string text;
  for (const auto& piece : chat_pieces(service.model(), fields)) text += piece.text;
  send_json(call, {{"prompt", text}}, answer_headers(call, fields.unknown()));
}

}  // namespace qjl::server
