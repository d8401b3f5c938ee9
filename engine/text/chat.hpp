// Chat prompts. A template is a list of pieces; template text is parsed for special tokens, the user's text never is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer.hpp"

namespace qjl::engine {

struct ChatMessage {
  std::string role;  // system, user, assistant
  std::string content;
};

enum class ChatFormat : std::uint8_t { chatml, llama2, llama3, mistral, gemma, phi3, raw, mistral_v3, mistral_tekken };

// By name. Errors: invalid_argument that lists the names.
ChatFormat chat_format(std::string_view name);
std::string_view chat_format_name(ChatFormat format);

// By the substrings of a Jinja template that tell the family. Errors: unsupported with the beginning of the template.
ChatFormat detect_chat_format(std::string_view chat_template);

// A stretch of a prompt: template text or user text.
using ChatPiece = Tokenizer::TextPiece;

class ChatTemplate {
 public:
  // default_system: the message that the template itself adds when the first message is not `system` (SmolLM2 has one).
  ChatTemplate(ChatFormat format, std::string default_system = {});
  static ChatTemplate from_model(const TokenizerData& data);

  ChatFormat format() const { return format_; }
  const std::string& default_system() const { return default_system_; }

  // The whole conversation as pieces; add_generation_prompt opens the assistant's turn.
  std::vector<ChatPiece> render(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const;

  // Pieces to their token ids, bos first when the tokenizer asks for one and the template does not write it.
  std::vector<Token> tokens(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages, bool add_generation_prompt) const;

 private:
  ChatFormat format_;
  std::string default_system_;
};

}  // namespace qjl::engine
