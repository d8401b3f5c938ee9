// Chat prompts: a conversation through the model's chat template, a Jinja program that is run as written (jinja/template.hpp).
//
// The result is pieces of template text and of the words of others. Special tokens are parsed in template text alone, so no message
// can open a turn, end one or call a tool, whatever it holds.
#pragma once

#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer.hpp"

namespace qjl::engine {

// A message is an object with `role` and `content` (a text, a list of parts, or null), and whatever else the template reads:
// tool_calls, reasoning_content, name ... A conversation is a list of them.
using ChatJson = nlohmann::ordered_json;
ChatJson chat_message(std::string_view role, std::string_view content);

struct ChatOptions {
  bool add_generation_prompt = true;        // opens the assistant's turn
  ChatJson variables = ChatJson::object();  // further names the template sees: tools, documents, enable_thinking ...
};

// A stretch of a prompt: template text or words.
using ChatPiece = Tokenizer::TextPiece;

namespace jinja {
class Template;
}

class ChatTemplate {
 public:
  // source: Jinja. The tokens of data are its bos_token, eos_token and unk_token.
  // Errors: bad_file or unsupported, with the line of the template.
  ChatTemplate(std::string_view source, const TokenizerData& data);
  // The model's own, and its other one for conversations with tools (variables.tools), where it has one. It serves all conversations
  // of a model that has no other; ChatML those of a model with neither.
  static ChatTemplate from_model(const TokenizerData& data);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // The whole conversation. now: for templates that write the date, local time.
  // Errors: invalid_argument: a role that no template knows, a message that is none; what the template refuses, with its line.
  std::vector<ChatPiece> render(const ChatJson& messages, const ChatOptions& options, const std::tm& now) const;
  std::vector<ChatPiece> render(const ChatJson& messages, const ChatOptions& options = {}) const;  // as of now

  // Pieces to their token ids, bos first when the tokenizer asks for one and the template does not write it.
  std::vector<Token> tokens(const Tokenizer& tokenizer, const ChatJson& messages, const ChatOptions& options = {}) const;

 private:
  std::unique_ptr<const jinja::Template> template_, tool_template_;  // the second may be null
  std::vector<std::pair<std::string, std::string>> special_tokens_;  // name, text
};

}  // namespace qjl::engine
