#include "generation.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "interrupt.hpp"
#include "progress.hpp"
#include "qjl/error.hpp"

namespace qjl::cli {
namespace {

using engine::Token;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double per_second(std::int64_t count, double seconds) { return seconds > 0 ? static_cast<double>(count) / seconds : 0.0; }

double decode_speed(const Turn& turn) { return per_second(std::max<std::int64_t>(turn.tokens - 1, 0), turn.decode_seconds); }

engine::Sampler make_sampler(const engine::SamplingConfig& config) {
  try {
    return engine::Sampler(config);
  } catch (const Error& error) {
    throw Usage(error.what());
  }
}

}  // namespace

Generator::Generator(LoadedModel& loaded, const CodecConfig& codec, const GenerateOptions& options)
    : loaded_(loaded),
      options_(options),
      cache_(loaded.model.cache_config(codec, loaded.context)),
      sequence_(cache_.create()),
      sampler_(make_sampler(options.sampling)) {}

Turn Generator::continue_text(std::span<const Token> prompt, const std::function<void(std::string_view)>& print) {
  const auto length = static_cast<std::int64_t>(prompt.size());
  if (length == 0) throw Error(ErrorKind::invalid_argument, "[generate] found an empty prompt, wanted at least one token");
  if (length >= loaded_.context) {
    throw Error(ErrorKind::invalid_argument, "[generate] the prompt has " + std::to_string(length) + " tokens, wanted at most " +
                                                 std::to_string(loaded_.context - 1) + " (--ctx-size)");
  }
  // At least the last token is processed again: its logits begin the answer.
  const auto shared = std::mismatch(history_.begin(), history_.end(), prompt.begin(), prompt.end() - 1).first - history_.begin();
  Turn turn{.prompt_tokens = length - shared, .cached_tokens = shared};
  cache_.truncate(sequence_, shared);
  for (const Token token : prompt.subspan(static_cast<std::size_t>(shared))) sampler_.accept(token);
  history_.assign(prompt.begin(), prompt.end());
  const auto start = Clock::now();
  const auto logits = process(prompt.subspan(static_cast<std::size_t>(shared)));
  turn.prompt_seconds = seconds_since(start);
  decode(logits, loaded_.context - length, turn, print);
  return turn;
}

std::span<const float> Generator::process(std::span<const Token> tokens) {
  const std::size_t chunk = options_.chunk > 0 ? static_cast<std::size_t>(options_.chunk) : tokens.size();
  const auto layers = static_cast<std::size_t>(loaded_.model.config().num_layers);
  Progress bar("prompt");
  std::span<const float> logits;
  for (std::size_t begin = 0; begin < tokens.size(); begin += chunk) {
    const auto part = tokens.subspan(begin, std::min(chunk, tokens.size() - begin));
    const engine::ForwardItem item{sequence_, part};
    const auto watch = [&](int layer, std::size_t, const TensorView&, const TensorView&) {
      check_interrupt();
      bar.update(static_cast<std::int64_t>(begin * layers + static_cast<std::size_t>(layer) * part.size()),
                 static_cast<std::int64_t>(tokens.size() * layers));
    };
    logits = loaded_.model.forward(cache_, {&item, 1}, {.observe_kv = watch}, loaded_.threads);
  }
  return logits;
}

void Generator::decode(std::span<const float> logits, std::int64_t room, Turn& turn,
                       const std::function<void(std::string_view)>& print) {
  const std::int64_t limit = options_.max_tokens >= 0 ? std::min(options_.max_tokens, room) : room;
  engine::Utf8Stream stream;
  const auto emit = [&](const std::string& text) {
    turn.text += text;
    if (!text.empty()) print(text);
  };
  turn.finish = limit == options_.max_tokens ? "length" : "context";
  const auto start = Clock::now();
  while (turn.tokens < limit) {
    check_interrupt();
    const Token token = sampler_.sample(logits);
    ++turn.tokens;
    if (loaded_.tokenizer.is_end_of_generation(token)) {
      turn.finish = "stop";
      break;
    }
    emit(stream.feed(loaded_.tokenizer.piece(token)));
    if (turn.tokens == limit) break;
    const engine::ForwardItem item{sequence_, {&token, 1}};
    logits = loaded_.model.forward(cache_, {&item, 1}, {}, loaded_.threads);
    history_.push_back(token);
  }
  turn.decode_seconds = seconds_since(start);
  emit(stream.finish());
}

engine::ChatTemplate chat_template(const LoadedModel& loaded, const std::string& name) {
  const auto& data = loaded.tokenizer.data();
  if (name == "auto") return engine::ChatTemplate::from_model(data);
  try {
    return engine::ChatTemplate(engine::chat_format(name));
  } catch (const Error& error) {
    throw Usage(error.what());
  }
}

nlohmann::ordered_json turn_json(const Turn& turn) {
  return {{"text", turn.text},
          {"finish", turn.finish},
          {"cached_tokens", turn.cached_tokens},
          {"prompt_tokens", turn.prompt_tokens},
          {"tokens", turn.tokens},
          {"prompt_seconds", turn.prompt_seconds},
          {"prompt_tokens_per_second", per_second(turn.prompt_tokens, turn.prompt_seconds)},
          {"decode_seconds", turn.decode_seconds},
          {"decode_tokens_per_second", decode_speed(turn)}};
}

nlohmann::ordered_json cache_json(const KvCache& cache) {
  return {{"cache", cache_type_name(cache.config().codec)},
          {"bits", cache_bits(cache)},
          {"bits_sealed", cache.bits_sealed()},
          {"cache_mb", cache_megabytes(cache)}};
}

void log_turn(const Turn& turn, const KvCache& cache) {
  spdlog::info("prompt: {} tokens in {:.2f} s ({:.1f} tokens/s), {} more in the cache", turn.prompt_tokens, turn.prompt_seconds,
               per_second(turn.prompt_tokens, turn.prompt_seconds), turn.cached_tokens);
  spdlog::info("answer: {} tokens at {:.1f} tokens/s; cache {}: {:.2f} MB, {:.2f} bits", turn.tokens, decode_speed(turn),
               cache_type_name(cache.config().codec), cache_megabytes(cache), cache_bits(cache));
}

}  // namespace qjl::cli
