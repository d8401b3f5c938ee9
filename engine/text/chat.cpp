// Chat prompts as the published templates write them (u user, a answer, s system; "|" is a new line):
//
//   chatml          <|im_start|>user|u<|im_end|>|<|im_start|>assistant|a<|im_end|>|
//   llama2          <s>[INST] <<SYS>>|s|<</SYS>>||u [/INST] a </s>
//   mistral         <s>[INST] s||u [/INST] a</s>        mistral-v3  [INST] u[/INST] a     mistral-tekken  [INST]u[/INST]a
//   llama3          <|begin_of_text|><|start_header_id|>user<|end_header_id|>||u<|eot_id|>
//   gemma           <bos><start_of_turn>user|s||u<end_of_turn>|<start_of_turn>model|a<end_of_turn>|
//   phi3            <|user|>|u<|end|>|<|assistant|>|a<|end|>|
//   raw             the contents, one after the other
#include "chat.hpp"

#include <algorithm>
#include <optional>

#include "printable.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

using Special = Tokenizer::Special;
using Messages = std::vector<ChatMessage>;

struct NamedFormat {
  ChatFormat format;
  std::string_view name;
};
constexpr NamedFormat kFormats[] = {
    {ChatFormat::chatml, "chatml"},
    {ChatFormat::llama2, "llama2"},
    {ChatFormat::llama3, "llama3"},
    {ChatFormat::mistral, "mistral"},
    {ChatFormat::mistral_v3, "mistral-v3"},
    {ChatFormat::mistral_tekken, "mistral-tekken"},
    {ChatFormat::gemma, "gemma"},
    {ChatFormat::phi3, "phi3"},
    {ChatFormat::raw, "raw"},
};

// White space as Python's str.strip() takes it, which is what `trim` means in a template.
constexpr std::string_view kSpaces[] = {
    "\t",           "\n",           "\v",           "\f",           "\r",
    "\x1C",         "\x1D",         "\x1E",         "\x1F",         " ",
    "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81",
    "\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86",
    "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8",
    "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80",
};

std::string trim_end(std::string_view text) {
  for (;;) {
    const auto* space =
        std::find_if(std::begin(kSpaces), std::end(kSpaces), [&](std::string_view end) { return text.ends_with(end); });
    if (space == std::end(kSpaces)) return std::string(text);
    text.remove_suffix(space->size());
  }
}

std::string trim(std::string_view text) {
  for (;;) {
    const auto* space =
        std::find_if(std::begin(kSpaces), std::end(kSpaces), [&](std::string_view start) { return text.starts_with(start); });
    if (space == std::end(kSpaces)) return trim_end(text);
    text.remove_prefix(space->size());
  }
}

[[noreturn]] void fail(const std::string& found, const std::string& wanted) {
  throw Error(ErrorKind::invalid_argument, "[chat] found " + found + ", wanted " + wanted);
}

// Collects a prompt; empty stretches are left out.
class Pieces {
 public:
  Pieces& markup(std::string text) { return add(std::move(text), Special::parse); }
  Pieces& words(std::string text) { return add(std::move(text), Special::text); }
  std::vector<ChatPiece> take() { return std::move(pieces_); }

 private:
  Pieces& add(std::string text, Special special) {
    if (!text.empty()) pieces_.push_back({std::move(text), special});
    return *this;
  }
  std::vector<ChatPiece> pieces_;
};

void check_roles(const Messages& messages) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role != "system" && role != "user" && role != "assistant") {
      fail("role " + printable(role) + " in message " + std::to_string(i), "system, user or assistant");
    }
  }
}

// For formats without a system turn: system, if any, first; then user and assistant in turn.
struct Turns {
  std::optional<std::string> system;
  Messages rest;
};

Turns take_turns(const Messages& messages) {
  Turns turns;
  auto first = messages.begin();
  if (first != messages.end() && first->role == "system") turns.system = (first++)->content;
  turns.rest.assign(first, messages.end());
  for (std::size_t i = 0; i < turns.rest.size(); ++i) {
    const std::string_view wanted = i % 2 == 0 ? "user" : "assistant";
    if (turns.rest[i].role != wanted) {
      fail("role " + turns.rest[i].role + " in turn " + std::to_string(i), std::string(wanted) + ": this format takes turns");
    }
  }
  return turns;
}

void render_chatml(const Messages& messages, bool open_answer, Pieces& out) {
  for (const ChatMessage& message : messages) {
    out.markup("<|im_start|>" + message.role + "\n").words(message.content).markup("<|im_end|>\n");
  }
  if (open_answer) out.markup("<|im_start|>assistant\n");
}

void render_llama3(const Messages& messages, bool open_answer, Pieces& out) {
  out.markup("<|begin_of_text|>");
  for (const ChatMessage& message : messages) {
    out.markup("<|start_header_id|>" + message.role + "<|end_header_id|>\n\n").words(trim(message.content)).markup("<|eot_id|>");
  }
  if (open_answer) out.markup("<|start_header_id|>assistant<|end_header_id|>\n\n");
}

void render_phi3(const Messages& messages, bool open_answer, Pieces& out) {
  for (const ChatMessage& message : messages) {
    out.markup("<|" + message.role + "|>\n").words(message.content).markup("<|end|>\n");
  }
  if (open_answer) out.markup("<|assistant|>\n");
}

void render_gemma(const Messages& messages, bool open_answer, Pieces& out) {
  const Turns turns = take_turns(messages);
  out.markup("<bos>");
  for (std::size_t i = 0; i < turns.rest.size(); ++i) {
    const bool user = i % 2 == 0;
    out.markup(user ? "<start_of_turn>user\n" : "<start_of_turn>model\n");
    if (i == 0 && turns.system) out.words(*turns.system).markup("\n\n");
    out.words(trim(turns.rest[i].content)).markup("<end_of_turn>\n");
  }
  if (open_answer) out.markup("<start_of_turn>model\n");
}

// The user's turn opens the answer's place by itself.
void render_llama2(const Messages& messages, Pieces& out) {
  const Turns turns = take_turns(messages);
  for (std::size_t i = 0; i < turns.rest.size(); ++i) {
    const std::string& content = turns.rest[i].content;
    if (i % 2 == 1) {
      out.markup(" ").words(trim(content)).markup(" </s>");
    } else if (i == 0 && turns.system) {
      // The template strips all of this as one text.
      const std::string user = trim_end(content);
      out.markup("<s>[INST] <<SYS>>\n").words(*turns.system);
      out.markup(user.empty() ? "\n<</SYS>>" : "\n<</SYS>>\n\n").words(user).markup(" [/INST]");
    } else {
      out.markup("<s>[INST] ").words(trim(content)).markup(" [/INST]");
    }
  }
}

struct MistralSpaces {
  const char *open, *close, *answer;
};

MistralSpaces mistral_spaces(ChatFormat format) {
  if (format == ChatFormat::mistral_v3) return {"[INST] ", "[/INST]", " "};
  if (format == ChatFormat::mistral_tekken) return {"[INST]", "[/INST]", ""};
  return {"[INST] ", " [/INST]", " "};
}

// The system's words go before the first user's: the start of a conversation then never changes and its cache can be kept.
void render_mistral(const Messages& messages, const MistralSpaces& spaces, Pieces& out) {
  const Turns turns = take_turns(messages);
  out.markup("<s>");
  for (std::size_t i = 0; i < turns.rest.size(); ++i) {
    if (i % 2 == 1) {
      out.markup(spaces.answer).words(turns.rest[i].content).markup("</s>");
      continue;
    }
    out.markup(spaces.open);
    if (i == 0 && turns.system) out.words(*turns.system).markup("\n\n");
    out.words(turns.rest[i].content).markup(spaces.close);
  }
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// The system message that a chatml template writes by itself: a literal between its markers.
std::string find_default_system(std::string_view text) {
  constexpr std::string_view kStart = "<|im_start|>system";
  for (std::size_t at = text.find(kStart); at != std::string_view::npos; at = text.find(kStart, at + 1)) {
    std::string_view rest = text.substr(at + kStart.size());
    if (rest.starts_with("\\n")) {
      rest.remove_prefix(2);
    } else if (rest.starts_with("\n")) {
      rest.remove_prefix(1);
    } else {
      continue;
    }
    const std::string_view literal = rest.substr(0, rest.find("<|im_end|>"));
    const bool plain = literal.find_first_of("'\"{}\\") == std::string_view::npos;
    if (plain && !literal.empty() && literal.size() < rest.size()) return std::string(literal);
  }
  return {};
}

}  // namespace

ChatFormat chat_format(std::string_view name) {
  std::string names;
  for (const NamedFormat& known : kFormats) {
    if (known.name == name) return known.format;
    names.append(names.empty() ? "" : ", ").append(known.name);
  }
  fail("chat format " + printable(name), "one of " + names);
}

std::string_view chat_format_name(ChatFormat format) {
  return std::find_if(std::begin(kFormats), std::end(kFormats),
                      [format](const NamedFormat& known) { return known.format == format; })
      ->name;
}

ChatFormat detect_chat_format(std::string_view text) {
  if (contains(text, "<|im_start|>")) return ChatFormat::chatml;
  if (contains(text, "[INST]") && !contains(text, "[SYSTEM_PROMPT]")) {
    if (contains(text, "<<SYS>>")) return ChatFormat::llama2;
    if (contains(text, " [/INST]")) return ChatFormat::mistral;
    return contains(text, "[INST] ") ? ChatFormat::mistral_v3 : ChatFormat::mistral_tekken;
  }
  if (contains(text, "<|start_header_id|>")) return ChatFormat::llama3;
  if (contains(text, "<start_of_turn>")) return ChatFormat::gemma;
  if (contains(text, "<|assistant|>") && contains(text, "<|end|>")) return ChatFormat::phi3;
  throw Error(ErrorKind::unsupported,
              "[chat] found the template " + printable(text) + ", wanted one of a known family; name a format instead");
}

ChatTemplate::ChatTemplate(ChatFormat format, std::string default_system)
    : format_(format), default_system_(std::move(default_system)) {}

ChatTemplate ChatTemplate::from_model(const TokenizerData& data) {
  if (data.chat_template.empty()) return ChatTemplate(ChatFormat::raw);
  const ChatFormat format = detect_chat_format(data.chat_template);
  return {format, format == ChatFormat::chatml ? find_default_system(data.chat_template) : std::string()};
}

std::vector<ChatPiece> ChatTemplate::render(const Messages& given, bool add_generation_prompt) const {
  check_roles(given);
  Messages messages = given;
  if (!default_system_.empty() && !messages.empty() && messages[0].role != "system") {
    messages.insert(messages.begin(), {"system", default_system_});
  }
  Pieces out;
  switch (format_) {
    case ChatFormat::chatml: render_chatml(messages, add_generation_prompt, out); break;
    case ChatFormat::llama2: render_llama2(messages, out); break;
    case ChatFormat::llama3: render_llama3(messages, add_generation_prompt, out); break;
    case ChatFormat::mistral:
    case ChatFormat::mistral_v3:
    case ChatFormat::mistral_tekken: render_mistral(messages, mistral_spaces(format_), out); break;
    case ChatFormat::gemma: render_gemma(messages, add_generation_prompt, out); break;
    case ChatFormat::phi3: render_phi3(messages, add_generation_prompt, out); break;
    case ChatFormat::raw:
      for (const ChatMessage& message : messages) out.words(message.content);
  }
  return out.take();
}

std::vector<Token> ChatTemplate::tokens(const Tokenizer& tokenizer, const Messages& messages, bool add_generation_prompt) const {
  std::vector<Token> tokens = tokenizer.encode(render(messages, add_generation_prompt));
  const TokenizerData& data = tokenizer.data();
  if (data.add_bos && (tokens.empty() || tokens.front() != data.bos)) tokens.insert(tokens.begin(), data.bos);
  return tokens;
}

}  // namespace qjl::engine
