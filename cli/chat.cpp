// `qjl chat`: a conversation, one line per message; the whole of it stays in one cache, so each turn processes only what is new. When
// the context is full the oldest messages are forgotten.
// Lines may come from a terminal or a pipe; the end of input ends the chat. In a terminal Ctrl-C ends the answer, a second one the chat.
#include <poll.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <optional>
#include <utility>

#include "files.hpp"
#include "generation.hpp"
#include "interrupt.hpp"
#include "saved_cache.hpp"
#include "text_input.hpp"

namespace qjl::cli {
namespace {

struct ChatOptions {
  ModelOptions model;
  CacheOptions cache;
  SavedCacheOptions saved;
  GenerateOptions generate = {.chat_template = {.name = "auto"}};
  OutputOptions output;
};

constexpr int kPasteMilliseconds = 30;        // lines of a paste follow each other faster than those of a person
constexpr std::size_t kTerminalBytes = 4095;  // that a terminal keeps of a line; it drops the rest

bool more_is_there() {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  return poll(&input, 1, kPasteMilliseconds) == 1 && (input.revents & POLLIN) != 0;
}

bool read_typed_line(std::string& line, bool from_terminal) {
  if (!read_line(line)) return false;
  if (from_terminal && line.size() == kTerminalBytes) {
    spdlog::warn("the terminal cuts lines after {} bytes; a pipe takes any length", kTerminalBytes);
  }
  return true;
}

// False at the end of input. A line is a message; in a terminal, all lines of a paste are one. The mark in front is for people, so it
// goes to the terminal, not to the result.
bool read_message(std::string& message, bool from_terminal) {
  do {
    if (from_terminal && isatty(STDERR_FILENO) == 1) std::cerr << "> " << std::flush;
    if (!read_typed_line(message, from_terminal)) {
      check_interrupt();
      return false;
    }
    for (std::string line; from_terminal && more_is_there() && read_typed_line(line, true);) message += "\n" + line;
  } while (message.find_first_not_of(" \t\r\n") == std::string::npos);
  return true;
}

// The conversation so far: a saved one goes on with its own messages; what another program saved stands before the first one as text.
struct Conversation {
  engine::ChatJson messages = engine::ChatJson::array();
  std::vector<engine::Token> before;
};

Conversation begin_conversation(const ChatOptions& options, const std::optional<CacheFile>& saved,
                                const engine::Generator& generator) {
  Conversation conversation;
  if (saved) conversation.messages = saved_messages(*saved);
  const std::optional<std::string>& system = options.generate.system;
  if (!conversation.messages.empty()) {
    if (system) throw Usage("[chat] found --system, wanted none: the saved conversation has begun");
    return conversation;
  }
  conversation.before = generator.tokens();
  if (system) conversation.messages.push_back(engine::chat_message("system", *system));
  return conversation;
}

// What the model said, which the next turn reads, and what is shown of it: with special tokens where they are asked for.
struct Answer {
  std::string said, shown;
};

class Chat {
 public:
  Chat(const ChatOptions& options, LoadedModel& loaded, engine::Generator& generator, Conversation conversation)
      : options_(options),
        loaded_(loaded),
        generator_(generator),
        format_(chat_template(loaded, options.generate.chat_template.name)),
        variables_(chat_options(options.generate.chat_template)),
        conversation_(std::move(conversation)) {}

  void run();
  const engine::ChatJson& messages() const { return conversation_.messages; }

 private:
  bool streams() const { return !options_.output.json && options_.output.file.empty(); }
  void talk();
  void answer();
  nlohmann::ordered_json take_turn(std::span<const engine::Token> prompt, Answer& answer);
  std::vector<engine::Token> fitting_prompt();
  bool forget_oldest();
  void write_transcript() const;

  const ChatOptions& options_;
  LoadedModel& loaded_;
  engine::Generator& generator_;
  engine::ChatTemplate format_;
  engine::ChatOptions variables_;
  Conversation conversation_;
  const bool from_terminal_ = isatty(STDIN_FILENO) == 1;
  nlohmann::ordered_json turns_ = nlohmann::ordered_json::array();
  std::string transcript_;
};

// In a file the transcript is written after every turn; on standard output at the end, whatever ends the chat.
void Chat::write_transcript() const {
  auto json = cache_json(generator_.cache());
  json["turns"] = turns_;
  write_result(options_.output.file, options_.output.json ? json_text(json) : transcript_);
}

// The oldest message and what answered it; a system message stays, and so does the newest message. False when no other is left.
bool Chat::forget_oldest() {
  auto& messages = conversation_.messages;
  const auto is_from = [](const engine::ChatJson& message, const char* role) { return message["role"] == role; };
  auto first = std::ranges::find_if(messages, [&](const auto& message) { return !is_from(message, "system"); });
  if (std::distance(first, messages.end()) <= 1) return false;
  const auto next = std::find_if(first + 1, messages.end(), [&](const auto& message) { return is_from(message, "user"); });
  messages.erase(first, next);
  return true;
}

// With room for an answer: a quarter of the context, or as much as may be said.
std::vector<engine::Token> Chat::fitting_prompt() {
  const std::int64_t quarter = std::max<std::int64_t>(generator_.context() / 4, 1), limit = options_.generate.max_tokens;
  const std::int64_t room = limit < 0 ? quarter : std::clamp<std::int64_t>(limit, 1, quarter);
  const auto before = std::ssize(conversation_.messages);
  for (;;) {
    auto prompt = joined(conversation_.before, format_.tokens(loaded_.tokenizer, conversation_.messages, variables_),
                         loaded_.tokenizer.data());
    if (std::ssize(prompt) + room > generator_.context() && forget_oldest()) continue;
    if (const auto forgotten = before - std::ssize(conversation_.messages); forgotten > 0) {
      spdlog::warn("the context of {} tokens is full: the oldest {} messages are forgotten (-c takes more)", generator_.context(),
                   forgotten);
    }
    return prompt;
  }
}

nlohmann::ordered_json Chat::take_turn(std::span<const engine::Token> prompt, Answer& answer) {
  const auto show = [&](std::string_view text) {
    answer.shown += text;
    if (streams()) print_text(text);
  };
  const auto say = [&](std::string_view text) {
    answer.said += text;
    show(text);
  };
  const bool shows_special = options_.generate.special == SpecialTokens::shown;
  engine::Turn turn = continue_text(generator_, prompt, say, shows_special ? engine::SpecialCallback(show) : nullptr);
  turn.text = answer.shown;
  log_turn(turn, generator_.cache());
  return turn_json(turn);
}

// A person's Ctrl-C ends the answer, and one that comes too late for it ends nothing; where lines come from elsewhere, it ends the chat.
void Chat::answer() {
  std::optional<InterruptsSpared> spared;
  if (from_terminal_) spared.emplace();
  Answer answer;
  nlohmann::ordered_json turn;
  try {
    turn = take_turn(fitting_prompt(), answer);
  } catch (const Interrupted&) {
    if (!from_terminal_) throw;
    turn = {{"text", answer.shown}, {"finish", "interrupted"}};
  }
  if (streams()) print_text("\n");
  conversation_.messages.push_back(engine::chat_message("assistant", answer.said));
  transcript_ += answer.shown + "\n";
  turns_.push_back(turn);
  if (!options_.output.file.empty()) write_transcript();
  if (from_terminal_) forget_interrupt();
}

void Chat::talk() {
  bool first = true;
  for (std::string message; read_message(message, from_terminal_); first = false) {
    if (first) drop_byte_order_mark(message);
    conversation_.messages.push_back(engine::chat_message("user", message));
    answer();
  }
}

void Chat::run() {
  try {
    talk();
  } catch (...) {
    if (options_.output.json && options_.output.file.empty()) write_transcript();
    throw;
  }
  if (!streams()) write_transcript();
}

Exit run_chat(const ChatOptions& options) {
  const engine::CacheType cache = cache_type(options.cache);
  const Device device = cache_device(options.cache);
  chat_options(options.generate.chat_template);  // wrong usage is told before a model is read
  check_output(options.output.file);
  const std::optional<CacheFile> saved = open_saved(options.saved, options.cache);
  LoadedModel loaded(options.model);
  auto generator = make_generator(loaded, cache, device, options.generate, saved);
  Chat chat(options, loaded, generator, begin_conversation(options, saved, generator));
  chat.run();
  save_generator(generator, options.saved, chat.messages());
  return Exit::ok;
}

}  // namespace

Verb add_chat(CLI::App& program) {
  auto options = std::make_shared<ChatOptions>();
  auto* command = program.add_subcommand("chat", "talk with a model, the history in one cache");
  add_model_options(*command, options->model);
  add_memory_option(*command, options->model);
  add_generate_options(*command, options->generate);
  add_cache_options(*command, options->cache);
  add_saved_cache_options(*command, options->saved);
  add_output_options(*command, options->output);
  return {command, [options] {
            apply_log_level(options->output);
            return run_chat(*options);
          }};
}

}  // namespace qjl::cli
