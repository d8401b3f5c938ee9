// Text generation on one cached sequence: `run` uses it once, `chat` once per turn.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat.hpp"
#include "loaded_model.hpp"
#include "options.hpp"

namespace qjl::cli {

// What a turn made, and what it took.
struct Turn {
  std::string text = {};
  std::string finish = {};         // stop: the model ended; length: -n is reached; context: no room is left
  std::int64_t prompt_tokens = 0;  // tokens that this turn processed before its first own token
  std::int64_t cached_tokens = 0;  // tokens that it found in the cache
  std::int64_t tokens = 0;         // tokens made
  double prompt_seconds = 0;
  double decode_seconds = 0;  // of tokens - 1 steps: the first token comes out of the prompt pass
};

class Generator {
 public:
  // Usage on a sampling number out of range. The cache has room for loaded.context tokens.
  Generator(LoadedModel& loaded, const CodecConfig& codec, const GenerateOptions& options);

  // Continues `prompt`, the whole of the text so far. What the cache holds of it from earlier turns is kept, only the rest is
  // processed. `print` gets whole UTF-8 characters as they come.
  // Errors: invalid_argument when the prompt leaves no room in the context (found and wanted); Interrupted.
  Turn continue_text(std::span<const engine::Token> prompt, const std::function<void(std::string_view)>& print);

  const KvCache& cache() const { return cache_; }

 private:
  std::span<const float> process(std::span<const engine::Token> tokens);
  void decode(std::span<const float> logits, std::int64_t room, Turn& turn, const std::function<void(std::string_view)>& print);

  LoadedModel& loaded_;
  GenerateOptions options_;
  KvCache cache_;
  SequenceId sequence_;
  engine::Sampler sampler_;
  std::vector<engine::Token> history_;  // the tokens that the cache holds
};

// The template that --chat-template names; "auto" is the model's own. Usage on an unknown name.
engine::ChatTemplate chat_template(const LoadedModel& loaded, const std::string& name);

// The fields that `run` and `chat` report alike: tokens, times, speeds, and what the cache costs.
nlohmann::ordered_json turn_json(const Turn& turn);
nlohmann::ordered_json cache_json(const KvCache& cache);
void log_turn(const Turn& turn, const KvCache& cache);

}  // namespace qjl::cli
