// `qjl run`: continues a prompt, streaming. With a chat template the prompt is one user message, and what follows is its answer.
#include "files.hpp"
#include "generation.hpp"
#include "saved_cache.hpp"
#include "text_input.hpp"

namespace qjl::cli {
namespace {

struct RunOptions {
  ModelOptions model;
  CacheOptions cache;
  SavedCacheOptions saved;
  GenerateOptions generate;
  OutputOptions output;
  std::string prompt, file;
  bool escape = false;
};

// The file's text, then the question: what --prompt asks stands below what --file holds.
std::string prompt_text(const RunOptions& options) {
  const std::string prompt = options.escape ? unescaped(options.prompt) : options.prompt;
  if (options.file.empty()) return prompt;
  std::string text = read_text(options.file);
  drop_byte_order_mark(text);
  drop_last_new_line(text);
  if (!prompt.empty()) text += "\n\n" + prompt;
  return text;
}

std::vector<engine::Token> prompt_tokens(const LoadedModel& loaded, const RunOptions& options) {
  const std::string text = prompt_text(options);
  if (text.empty()) return {};  // only after a saved cache: it goes on where that ends
  const auto& name = options.generate.chat_template.name;
  if (name.empty()) return text_tokens(loaded.tokenizer, text);
  auto messages = engine::ChatJson::array();
  if (options.generate.system) messages.push_back(engine::chat_message("system", *options.generate.system));
  messages.push_back(engine::chat_message("user", text));
  return chat_template(loaded, name).tokens(loaded.tokenizer, messages, chat_options(options.generate.chat_template));
}

Exit run_run(const RunOptions& options) {
  if (options.prompt.empty() && options.file.empty() && options.saved.load.empty()) {
    throw Usage("[run] found no prompt, wanted --prompt, --file or both");
  }
  const bool for_a_template = options.generate.system || !options.generate.chat_template.variables.empty();
  if (for_a_template && options.generate.chat_template.name.empty()) {
    throw Usage("[run] found --system or --chat-template-kwargs without --chat-template, wanted both");
  }
  const engine::CacheType cache = cache_type(options.cache);
  const Device device = cache_device(options.cache);
  check_output(options.output.file);
  const std::optional<CacheFile> saved = open_saved(options.saved, options.cache);
  LoadedModel loaded(options.model);
  auto generator = make_generator(loaded, cache, device, options.generate, saved);
  const auto prompt = joined(generator.tokens(), prompt_tokens(loaded, options), loaded.tokenizer.data());
  const bool streams = !options.output.json && options.output.file.empty();
  std::string answer;
  const auto print = [&](std::string_view text) {
    answer += text;
    if (streams) print_text(text);
  };
  const bool shows_special = options.generate.special == SpecialTokens::shown;
  engine::Turn turn = continue_text(generator, prompt, print, shows_special ? engine::SpecialCallback(print) : nullptr);
  turn.text = std::move(answer);
  if (streams) write_result("", "\n");
  log_turn(turn, generator.cache());
  save_generator(generator, options.saved);
  if (streams) return Exit::ok;
  if (options.output.json) {
    auto json = turn_json(turn);
    json.update(cache_json(generator.cache()));
    json["seed"] = options.generate.sampling.seed;
    write_result(options.output.file, json_text(json));
  } else {
    write_result(options.output.file, turn.text + "\n");
  }
  return Exit::ok;
}

}  // namespace

Verb add_run(CLI::App& program) {
  auto options = std::make_shared<RunOptions>();
  auto* command = program.add_subcommand("run", "continue a prompt, or answer a question about a file");
  add_model_options(*command, options->model);
  add_memory_option(*command, options->model);
  command->add_option("-p,--prompt", options->prompt, "text to continue; after --file: a question below it")->group("Prompt");
  command->add_option("-f,--file", options->file, "text file to begin with, - for standard input")->group("Prompt");
  command->add_flag("-e,--escape", options->escape, "read \\n, \\t, \\xNN and the like in --prompt as in C")->group("Prompt");
  add_generate_options(*command, options->generate);
  add_cache_options(*command, options->cache);
  add_saved_cache_options(*command, options->saved);
  add_output_options(*command, options->output);
  return {command, [options] {
            apply_log_level(options->output);
            return run_run(*options);
          }};
}

}  // namespace qjl::cli
