// The generation loop. history_ follows the cache, never runs ahead of it: tokens join after the forward() that appended them, and
// forward() undoes what it began when it fails. So an exception may leave a turn anywhere.
#include "generate.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <sstream>
#include <utility>

#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorKind::invalid_argument, "[generate] " + text); }

GenerateConfig checked(GenerateConfig config, std::int64_t model_context) {
  if (config.context == 0) config.context = model_context;
  if (config.context < 1 || config.context > kMostContext) {
    refuse("context is " + std::to_string(config.context) + ", wanted 1 to " + std::to_string(kMostContext) + " (0: the model's, " +
           std::to_string(model_context) + ")");
  }
  if (config.max_tokens < -1) refuse("max_tokens is " + std::to_string(config.max_tokens) + ", wanted -1 (no limit) or more");
  if (config.chunk < 0) refuse("chunk is " + std::to_string(config.chunk) + ", wanted 0 (one pass) or more");
  return config;
}

CacheConfig cache_shape(const Model& model, const GenerateConfig& config) {
  CacheConfig shape = model.cache_config(config.codec, config.context);
  shape.layer_codes = config.layer_codes;
  return config.device == Device::cpu() ? forgetting(std::move(shape)) : shape;
}

// Keys are stored with RoPE's magnitude, which no word of the file tells: a note does, a number for each layer, where one is not 1.
constexpr const char* kMagnitudes = "rope_magnitudes";

std::string magnitudes_note(const ModelConfig& model) {
  std::ostringstream note;
  note.precision(9);
  for (const LayerShape& layer : model.layers) note << (note.tellp() == 0 ? "" : " ") << layer.rope.magnitude;
  return std::ranges::all_of(model.layers, [](const LayerShape& layer) { return layer.rope.magnitude == 1.0; }) ? "" : note.str();
}

void check_magnitudes(const CacheFile& saved, const ModelConfig& model) {
  const auto note = saved.info().notes.find(kMagnitudes);
  std::istringstream numbers(note == saved.info().notes.end() ? "" : note->second);
  for (std::size_t l = 0; l < model.layers.size(); ++l) {
    const double wanted = model.layers[l].rope.magnitude;
    double found = 1.0;
    if (note != saved.info().notes.end() && !(numbers >> found))
      refuse("the saved cache's rope_magnitudes have no layer " + std::to_string(l));
    if (!(std::abs(found - wanted) <= 1e-6 * wanted)) {
      refuse("the saved cache's RoPE has magnitude " + std::to_string(found) + " in layer " + std::to_string(l) + ", wanted " +
             std::to_string(wanted));
    }
  }
}

void check_saved(const CacheFile& saved, const CacheConfig& shape, std::int64_t vocab_size, std::int64_t context) {
  const CacheFileInfo& info = saved.info();
  if (!info.exact.empty()) {
    throw Error(ErrorKind::unsupported, "[generate] the saved cache keeps " + std::to_string(info.exact.size()) +
                                            " tensors of layers apart, exactly, wanted one with all layers in the cache");
  }
  saved.check_model(shape);
  const auto sequences = saved.num_tokens().size();
  if (sequences != 1) refuse("the saved cache has " + std::to_string(sequences) + " sequences, wanted 1");
  const std::vector<std::int64_t>& ids = info.token_ids.front();
  if (ids.empty()) refuse("the saved cache has no token ids, wanted those of its text");
  if (std::ssize(ids) >= context) {
    refuse("the saved cache has " + std::to_string(ids.size()) + " tokens, wanted at most " + std::to_string(context - 1));
  }
  for (const std::int64_t id : ids) {
    if (id < 0 || id >= vocab_size) {
      refuse("the saved cache has token " + std::to_string(id) + ", wanted 0 to " + std::to_string(vocab_size - 1));
    }
  }
}

}  // namespace

CacheConfig forgetting(CacheConfig shape) {
  for (const std::int64_t window : shape.layer_windows) shape.layer_retention.push_back(window == 0 ? 0 : window + kTurnSlack);
  return shape;
}

std::string_view finish_name(Finish finish) {
  switch (finish) {
    case Finish::stop: return "stop";
    case Finish::length: return "length";
    case Finish::context: return "context";
  }
  return "unknown";
}

Generator::Generator(Model& model, const Tokenizer& tokenizer, ThreadPool& threads, const GenerateConfig& config)
    : model_(model),
      tokenizer_(tokenizer),
      threads_(threads),
      config_(checked(config, model.config().context_length)),
      cache_(std::make_unique<KvCache>(cache_shape(model, config_), config_.device)),
      sequence_(cache_->create()),
      sampler_(config_.sampling) {}

Generator::Generator(Model& model, const Tokenizer& tokenizer, ThreadPool& threads, const GenerateConfig& config,
                     const CacheFile& saved)
    : model_(model),
      tokenizer_(tokenizer),
      threads_(threads),
      config_(checked(config, model.config().context_length)),
      sampler_(config_.sampling) {
  const CacheConfig shape = model.cache_config(config_.codec, config_.context);
  check_saved(saved, shape, model.config().vocab_size, config_.context);
  check_magnitudes(saved, model.config());
  LoadedCache loaded = saved.load(shape.max_pages, config_.device);
  cache_ = std::move(loaded.cache);
  sequence_ = loaded.sequences.front();
  for (const std::int64_t token : saved.info().token_ids.front()) {
    (std::ssize(history_) < saved.num_tokens().front() ? history_ : pending_).push_back(static_cast<Token>(token));
  }
}

void Generator::save(const std::string& path, std::map<std::string, std::string> notes) const {
  CacheFileInfo info{.model = model_.config().name, .notes = std::move(notes)};
  for (const LayerShape& layer : model_.config().layers) {
    info.layer_types.emplace_back(layer.keeps_state   ? "linear_attention"
                                  : layer.window == 0 ? "full_attention"
                                                      : "sliding_attention");
  }
  if (std::string magnitudes = magnitudes_note(model_.config()); !magnitudes.empty())
    info.notes[kMagnitudes] = std::move(magnitudes);
  const std::vector<Token> text = tokens();
  info.token_ids.emplace_back(text.begin(), text.end());
  save_cache(path, *cache_, {&sequence_, 1}, info);
}

std::vector<Token> Generator::tokens() const {
  std::vector<Token> text = history_;
  text.insert(text.end(), pending_.begin(), pending_.end());
  return text;
}

Turn Generator::continue_text(std::span<const Token> prompt, const TextCallback& on_text, const PromptCallback& on_prompt,
                              const SpecialCallback& on_special) {
  if (prompt.empty()) refuse("found an empty prompt, wanted at least one token");
  if (std::ssize(prompt) >= config_.context) {
    refuse("the prompt has " + std::to_string(prompt.size()) + " tokens, wanted at most " + std::to_string(config_.context - 1));
  }
  const std::int64_t shared = keep_shared(prompt);
  const auto rest = prompt.subspan(static_cast<std::size_t>(shared));
  sampler_.forget();
  for (const Token token : prompt) sampler_.accept(token);
  Turn turn{.prompt_tokens = std::ssize(rest), .cached_tokens = shared};
  const auto start = Clock::now();
  const auto logits = process(rest, on_prompt);
  turn.prompt_seconds = seconds_since(start);
  decode(logits, turn, on_text, on_special);
  turn.peak_scratch_bytes = model_.peak_scratch_bytes();
  return turn;
}

// Cuts the cache down to what it shares with the prompt; returns that length. At least the last token is processed again: its
// logits begin the answer.
std::int64_t Generator::keep_shared(std::span<const Token> prompt) {
  auto shared = std::mismatch(history_.begin(), history_.end(), prompt.begin(), prompt.end() - 1).first - history_.begin();
  if (!cache_->can_truncate(sequence_, shared)) shared = 0;
  cache_->truncate(sequence_, shared);
  history_.resize(static_cast<std::size_t>(shared));
  pending_.clear();
  return shared;
}

std::span<const float> Generator::process(std::span<const Token> tokens, const PromptCallback& on_prompt) {
  const std::size_t chunk = config_.chunk > 0 ? static_cast<std::size_t>(config_.chunk) : tokens.size();
  const auto layers = static_cast<std::size_t>(model_.config().num_cached_layers());
  std::span<const float> logits;
  for (std::size_t begin = 0; begin < tokens.size(); begin += chunk) {
    const auto part = tokens.subspan(begin, std::min(chunk, tokens.size() - begin));
    const auto watch = [&](int layer, std::size_t, const TensorView&, const TensorView&) {
      if (!on_prompt) return;
      on_prompt(static_cast<std::int64_t>(begin * layers + static_cast<std::size_t>(layer) * part.size()),
                static_cast<std::int64_t>(tokens.size() * layers));
    };
    logits = forward(part, {.arithmetic = config_.arithmetic, .observe_kv = watch});
  }
  return logits;
}

void Generator::decode(std::span<const float> logits, Turn& turn, const TextCallback& on_text, const SpecialCallback& on_special) {
  const std::int64_t room = config_.context - std::ssize(history_);
  const std::int64_t limit = config_.max_tokens >= 0 ? std::min(config_.max_tokens, room) : room;
  const std::size_t with_text = std::min(logits.size(), static_cast<std::size_t>(tokenizer_.vocab_size()));  // rows may be padded
  Utf8Stream stream;
  const auto emit = [&](const std::string& text) {
    turn.text += text;
    on_text(text);
  };
  turn.finish = limit == config_.max_tokens ? Finish::length : Finish::context;
  const auto start = Clock::now();
  while (turn.tokens < limit) {
    const Token token = sampler_.sample(logits.first(with_text));
    ++turn.tokens;
    if (const auto written = tokenizer_.special_piece(token); on_special && !written.empty()) on_special(written);
    if (tokenizer_.is_end_of_generation(token)) {
      turn.finish = Finish::stop;
      emit("");
      break;
    }
    emit(stream.feed(tokenizer_.piece(token)));
    if (turn.tokens < limit) {
      logits = forward({&token, 1}, {.arithmetic = config_.arithmetic, .observe_kv = {}});
    } else {
      pending_ = {token};
    }
  }
  turn.decode_seconds = seconds_since(start);
  const std::string cut_character = stream.finish();
  if (!cut_character.empty()) emit(cut_character);
}

std::span<const float> Generator::forward(std::span<const Token> tokens, const ForwardOptions& options) {
  const ForwardItem item{sequence_, tokens};
  const auto logits = model_.forward(*cache_, {&item, 1}, options, threads_);
  history_.insert(history_.end(), tokens.begin(), tokens.end());
  return logits;
}

}  // namespace qjl::engine
