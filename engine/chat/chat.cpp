// Messages become the template's values as in Hugging Face's transformers: tools and documents are none where they are not given,
// and a message's reasoning is found under each of the three names that templates read.
#include "chat.hpp"

#include <algorithm>
#include <array>
#include <chrono>

#include "jinja/from_json.hpp"
#include "jinja/template.hpp"
#include "named_templates.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

using jinja::Dict;
using jinja::Origin;
using jinja::Value;

// Roles are part of special tokens ('<|' + role + '|>'), so they are template text, and only these are taken.
constexpr std::array<std::string_view, 12> kRoles = {"system",      "developer", "user",  "assistant", "tool",        "function",
                                                     "observation", "ipython",   "model", "bot",       "environment", "context"};

[[noreturn]] void fail(const std::string& found, const std::string& wanted) {
  throw Error(ErrorKind::invalid_argument, "[chat] found " + found + ", wanted " + wanted);
}

std::string known_roles() {
  std::string all;
  for (const std::string_view role : kRoles) all.append(all.empty() ? "" : ", ").append(role);
  return all;
}

Value role_of(const ChatJson& message, std::size_t index) {
  const auto role = message.find("role");
  const std::string place = " in message " + std::to_string(index);
  if (role == message.end() || !role->is_string()) fail("no role" + place, "one of " + known_roles());
  const auto& name = role->get_ref<const std::string&>();
  if (std::find(kRoles.begin(), kRoles.end(), name) == kRoles.end())
    fail("role " + printable(name) + place, "one of " + known_roles());
  return Value::text(name, Origin::markup);
}

// The reasoning of a message by the first of its names, then by the names that templates read.
void add_reasoning(Dict& message) {
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const Value* found = message.find(std::string_view(name));
    if (found == nullptr || found->is(Value::Kind::none)) continue;
    const Value reasoning = *found;
    if (message.find(std::string_view("thinking")) == nullptr) message.set(Value::text("thinking"), reasoning);
    message.set(Value::text("reasoning_content"), reasoning);
    return;
  }
}

Value message_value(const ChatJson& message, std::size_t index) {
  if (!message.is_object()) fail("a " + std::string(message.type_name()) + " as message " + std::to_string(index), "an object");
  const Value role = role_of(message, index);
  Dict dict;
  for (const auto& [key, value] : message.items()) {
    dict.set(Value::text(key, Origin::words), key == "role" ? role : jinja::from_json(value));
  }
  add_reasoning(dict);
  return Value::dict(std::move(dict));
}

Value messages_value(const ChatJson& messages) {
  if (!messages.is_array()) fail("messages of type " + std::string(messages.type_name()), "a list");
  std::vector<Value> values;
  for (std::size_t i = 0; i < messages.size(); ++i) values.push_back(message_value(messages[i], i));
  return Value::list(std::move(values));
}

void append(std::vector<ChatPiece>& pieces, const jinja::OriginText& text) {
  std::size_t begin = 0;
  for (const auto& stretch : text.stretches()) {
    const bool words = stretch.origin == Origin::words;
    pieces.push_back(
        {text.bytes().substr(begin, stretch.end - begin), words ? Tokenizer::Special::text : Tokenizer::Special::parse});
    begin = stretch.end;
  }
}

bool has_tools(const ChatJson& variables) {
  const auto tools = variables.find("tools");
  return tools != variables.end() && !tools->empty();  // none, [] and {} are empty
}

std::tm local_time() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

}  // namespace

ChatJson chat_message(std::string_view role, std::string_view content) { return {{"role", role}, {"content", content}}; }

ChatTemplate::ChatTemplate(std::string_view source, const TokenizerData& data)
    : template_(std::make_unique<const jinja::Template>(source)) {
  for (const auto& [name, token] : {std::pair("bos_token", data.bos), {"eos_token", data.eos}, {"unk_token", data.unk}}) {
    const auto index = static_cast<std::size_t>(token);
    if (token >= 0 && index < data.tokens.size()) special_tokens_.emplace_back(name, data.tokens[index]);
  }
}

ChatTemplate ChatTemplate::from_model(const TokenizerData& data) {
  const std::string &usual = data.chat_template, &for_tools = data.tool_template;
  ChatTemplate chat(!usual.empty() ? usual : !for_tools.empty() ? for_tools : named_template("chatml"), data);
  if (!usual.empty() && !for_tools.empty()) chat.tool_template_ = std::make_unique<const jinja::Template>(for_tools);
  return chat;
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

std::vector<ChatPiece> ChatTemplate::render(const ChatJson& messages, const ChatOptions& options, const std::tm& now) const {
  if (!options.variables.is_object()) fail("variables of type " + std::string(options.variables.type_name()), "an object");
  Dict given;
  for (const auto& [name, text] : special_tokens_) given.set(Value::text(name), Value::text(text));
  for (const char* name : {"tools", "documents"}) given.set(Value::text(name), Value());
  std::vector<ChatPiece> pieces;
  try {
    for (const auto& [name, value] : options.variables.items()) given.set(Value::text(name), jinja::from_json(value));
    given.set(Value::text("messages"), messages_value(messages));
    given.set(Value::text("add_generation_prompt"), Value::boolean(options.add_generation_prompt));
    const auto& chosen = tool_template_ != nullptr && has_tools(options.variables) ? tool_template_ : template_;
    append(pieces, chosen->render(given, now));
  } catch (const jinja::Fault& fault) {
    throw Error(ErrorKind::invalid_argument, std::string("[chat] ") + fault.what());
  }
  return pieces;
}

std::vector<ChatPiece> ChatTemplate::render(const ChatJson& messages, const ChatOptions& options) const {
  return render(messages, options, local_time());
}

std::vector<Token> ChatTemplate::tokens(const Tokenizer& tokenizer, const ChatJson& messages, const ChatOptions& options) const {
  std::vector<Token> tokens = tokenizer.encode(render(messages, options));
  const TokenizerData& data = tokenizer.data();
  if (data.add_bos && (tokens.empty() || tokens.front() != data.bos)) tokens.insert(tokens.begin(), data.bos);
  return tokens;
}

}  // namespace qjl::engine
