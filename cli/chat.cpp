// `qjl chat`: a conversation, one line per message; the whole of it stays in one cache, so each turn processes only what is new.
// Lines may come from a terminal or a pipe; the end of input ends the chat.
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "files.hpp"
#include "generation.hpp"
#include "interrupt.hpp"
#include "saved_cache.hpp"

namespace qjl::cli {
namespace {

struct ChatOptions {
  ModelOptions model;
  CacheOptions cache;
  SavedCacheOptions saved;
  GenerateOptions generate = {.chat_template = {.name = "auto"}};
  OutputOptions output;
};

// False at the end of input. The mark in front is for people, so it goes to the terminal, not to the result.
bool read_message(std::string& line) {
  do {
    if (isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1) std::cerr << "> " << std::flush;
    if (!std::getline(std::cin, line)) {
      check_interrupt();
      return false;
    }
  } while (line.find_first_not_of(" \t\r") == std::string::npos);
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

Exit run_chat(const ChatOptions& options) {
  const engine::CacheType cache = cache_type(options.cache);
  const engine::ChatOptions variables = chat_options(options.generate.chat_template);
  const Device device = cache_device(options.cache);
  check_output(options.output.file);
  const std::optional<CacheFile> saved = open_saved(options.saved, options.cache);
  LoadedModel loaded(options.model);
  const auto format = chat_template(loaded, options.generate.chat_template.name);
  auto generator = make_generator(loaded, cache, device, options.generate, saved);
  const bool streams = !options.output.json && options.output.file.empty();
  auto turns = nlohmann::ordered_json::array();
  std::string transcript;
  auto [messages, before] = begin_conversation(options, saved, generator);
  for (std::string line; read_message(line);) {
    messages.push_back(engine::chat_message("user", line));
    const auto prompt = joined(before, format.tokens(loaded.tokenizer, messages, variables), loaded.tokenizer.data());
    const engine::Turn turn = continue_text(generator, prompt, [streams](std::string_view text) {
      if (streams) std::cout << text << std::flush;
    });
    if (streams) write_result("", "\n");
    log_turn(turn, generator.cache());
    messages.push_back(engine::chat_message("assistant", turn.text));
    transcript += turn.text + "\n";
    turns.push_back(turn_json(turn));
  }
  save_generator(generator, options.saved, messages);
  if (streams) return Exit::ok;
  auto json = cache_json(generator.cache());
  json["turns"] = turns;
  write_result(options.output.file, options.output.json ? json_text(json) : transcript);
  return Exit::ok;
}

}  // namespace

Verb add_chat(CLI::App& program) {
  auto options = std::make_shared<ChatOptions>();
  auto* command = program.add_subcommand("chat", "talk with a model, the history in one cache");
  add_model_options(*command, options->model);
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
