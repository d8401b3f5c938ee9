// Messages to pieces of a prompt.
#include "chat_prompt.hpp"

#include "qjl/error.hpp"

namespace qjl::server {
namespace {

using engine::ChatJson;

constexpr std::size_t kMostMessages = 10'000;

// A list of parts is their texts in a row, one a line: what templates without parts of their own take.
ChatJson content_text(const Json& content, const std::string& field) {
  if (content.is_string()) return content;
  if (content.is_null()) return "";
  if (!content.is_array()) refuse_field(field, describe(content), "a text or a list of text parts");
  std::string text;
  for (const Json& part : content) {
    const bool typed = part.is_object() && part.contains("type") && part["type"].is_string();
    if (!typed || part["type"] != "text" || !part.contains("text") || !part["text"].is_string()) {
      refuse_field(field, typed ? "a part of type " + describe(part["type"]) : describe(part),
                   R"(parts {"type": "text", "text": ...}: this model reads text alone)", "unsupported_content");
    }
    text += (text.empty() ? "" : "\n") + part["text"].get<std::string>();
  }
  return text;
}

ChatJson read_messages(Fields& fields) {
  const Json& list = fields.required("messages", "a list of messages");
  const std::string name = fields.full_name("messages");
  if (!list.is_array() || list.empty() || list.size() > kMostMessages) {
    refuse_field(name, describe(list), "a list of 1 to " + std::to_string(kMostMessages) + " messages");
  }
  ChatJson messages = ChatJson::array();
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string place = name + "[" + std::to_string(i) + "]";
    if (!list[i].is_object()) refuse_field(place, describe(list[i]), "an object with role and content");
    ChatJson message = list[i];
    if (!message.contains("role") || !message["role"].is_string()) refuse_field(place + ".role", "none", "a text");
    if (message["role"] == "developer") message["role"] = "system";
    if (!message.contains("content") && !message.contains("tool_calls")) refuse_field(place + ".content", "nothing", "a text");
    message["content"] = content_text(message.contains("content") ? message["content"] : Json(), place + ".content");
    messages.push_back(std::move(message));
  }
  return messages;
}

// The prompt ends with the last message's own words: what the template puts behind them is left out.
void end_in_words(std::vector<engine::ChatPiece>& pieces, const ChatJson& last) {
  const auto& text = last["content"].get_ref<const std::string&>();
  if (last["role"] != "assistant" || text.empty()) {
    refuse_field("continue_final_message", "true", "a last message of the assistant, not empty");
  }
  while (!pieces.empty() && pieces.back().special == engine::Tokenizer::Special::parse) pieces.pop_back();
  if (pieces.empty() || text.find(pieces.back().text) == std::string::npos) {
    refuse_field("continue_final_message", "a template that does not end in the last message", "one that does", "unsupported");
  }
}

engine::ChatOptions read_options(const ServedModel& model, Fields& fields) {
  engine::ChatOptions options;
  options.variables = model.config().template_variables;
  if (const Json* given = fields.find("chat_template_kwargs")) {
    if (!given->is_object()) refuse_field(fields.full_name("chat_template_kwargs"), describe(*given), "an object");
    options.variables.update(*given);
  }
  options.add_generation_prompt = fields.flag("add_generation_prompt").value_or(true);
  return options;
}

}  // namespace

std::vector<engine::ChatPiece> chat_pieces(const ServedModel& model, Fields& fields) {
  const ChatJson messages = read_messages(fields);
  const bool asks_for_turn = fields.has("add_generation_prompt");
  auto options = read_options(model, fields);
  const bool continues = fields.flag("continue_final_message").value_or(false);
  if (continues && asks_for_turn && options.add_generation_prompt) {
    refuse_field("continue_final_message", "true beside add_generation_prompt", "one of the two");
  }
  if (continues) options.add_generation_prompt = false;
  try {
    auto pieces = model.chat().render(messages, options);
    if (continues) end_in_words(pieces, messages.back());
    return pieces;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid_argument) throw;
    throw Refused({.status = 400, .message = error.what(), .param = "messages", .code = "invalid_value"});
  }
}

std::vector<engine::Token> chat_tokens(const ServedModel& model, Fields& fields) {
  auto tokens = model.tokenizer().encode(chat_pieces(model, fields));
  const auto& data = model.tokenizer().data();
  if (data.add_bos && data.bos >= 0 && (tokens.empty() || tokens.front() != data.bos)) tokens.insert(tokens.begin(), data.bos);
  return tokens;
}

}  // namespace qjl::server
