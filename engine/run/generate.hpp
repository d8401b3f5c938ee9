// Text generation on one cached sequence, turn by turn.
//
//   prompt -> keep what the cache holds of it -> forward() over the rest, in chunks -> sample, forward() one token, sample ...
//
// Cost of a turn: one pass over the new tokens of the prompt, one step per token made but the last.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model.hpp"
#include "qjl/cache_file.hpp"
#include "sampler.hpp"
#include "tokenizer.hpp"

namespace qjl::engine {

struct GenerateConfig {
  SamplingConfig sampling = {};
  CodecConfig codec = {};
  std::vector<std::pair<Code, Code>> layer_codes = {};  // of a plan (plan_file.hpp); empty: codec's
  std::int64_t context = 0;                             // tokens of prompt and answer together; 0: what the model was trained for
  std::int64_t max_tokens = -1;                         // tokens made at most; -1: until the model ends or the context is full
  Arithmetic arithmetic = Arithmetic::fast;
  Device device = {};      // of the cache and of attention; products of weights are the host's
  std::int64_t chunk = 0;  // tokens of prompt per pass, later passes read the compressed cache; 0: the prompt in one pass
};

// A turn may word the end of the last one otherwise and still go on with the cache, so windowed layers keep so many tokens more.
inline constexpr std::int64_t kTurnSlack = 32;

// `shape` of Model::cache_config(), with windowed layers that forget what no query sees any more. The cache of a generator on the host.
CacheConfig forgetting(CacheConfig shape);

// Why a turn ended: the model ended it; max_tokens are made; the context has no room.
enum class Finish : std::uint8_t { stop, length, context };
std::string_view finish_name(Finish finish);

// What a turn made, and what it took.
struct Turn {
  std::string text = {};
  Finish finish = Finish::stop;
  std::int64_t prompt_tokens = 0;  // tokens that this turn processed before its first own token
  std::int64_t cached_tokens = 0;  // tokens that it found in the cache
  std::int64_t tokens = 0;         // tokens made, the one that ends the text included
  double prompt_seconds = 0;
  double decode_seconds = 0;            // of tokens - 1 steps: the first token comes out of the prompt pass
  std::int64_t peak_scratch_bytes = 0;  // Model::peak_scratch_bytes() after the turn
};

// Called once per token made, with the whole UTF-8 characters that it completes: "" when there are none. Once more at the end when
// the text stops inside a character.
using TextCallback = std::function<void(std::string_view text)>;
// Called with each special token made, as it is written, before its TextCallback; also the one that ends the text. May be empty.
using SpecialCallback = std::function<void(std::string_view written)>;
// Called once per layer and chunk of the prompt; done and total count tokens times layers. May be empty.
using PromptCallback = std::function<void(std::int64_t done, std::int64_t total)>;

class Generator {
 public:
  // The cache is the generator's own, with room for config.context tokens; model, tokenizer and threads are the caller's and
  // outlive it. Generators may share a model, one turn at a time. Errors: invalid_argument on a number out of range; unsupported
  // without that device.
  Generator(Model& model, const Tokenizer& tokenizer, ThreadPool& threads, const GenerateConfig& config);
  // Goes on with a saved cache, coded as the file says (not config.codec and layer_codes). A file whose keys have their channels in
  // another order than the model's (KeyRope::pairs) is as good. Errors also: invalid_argument unless the file is of such a model and
  // holds one sequence with its token ids; unsupported when layers of it are kept apart, exactly; bad_file.
  Generator(Model& model, const Tokenizer& tokenizer, ThreadPool& threads, const GenerateConfig& config, const CacheFile& saved);

  // Continues `prompt`, the whole of the text so far: the longest beginning that the cache holds from earlier turns is kept, only
  // the rest is processed. Where windowed layers have forgotten what a cut back to there needs, or layers keep a state, all of it is.
  // The repeat penalty sees the prompt and what is made. A callback may throw to stop the turn, and must not call the model.
  // Errors: invalid_argument when the prompt is empty or leaves no room in the context (found and wanted); those of
  // Model::forward. After an error, or an exception of a callback, the cache keeps the chunks and steps that were complete (what a
  // cut pass had sealed comes back as KvCache::truncate says), and the next turn starts from them.
  Turn continue_text(std::span<const Token> prompt, const TextCallback& on_text, const PromptCallback& on_prompt = {},
                     const SpecialCallback& on_special = {});

  // Writes the cache with its token ids (cache_file.hpp). Errors: as of save_cache().
  void save(const std::string& path, std::map<std::string, std::string> notes = {}) const;

  const KvCache& cache() const { return *cache_; }
  // The text so far: the tokens that the cache holds, then those that it does not hold yet: the last one made, unless it ended the
  // text.
  std::vector<Token> tokens() const;
  std::int64_t context() const { return config_.context; }  // tokens

 private:
  std::int64_t keep_shared(std::span<const Token> prompt);
  std::span<const float> process(std::span<const Token> tokens, const PromptCallback& on_prompt);
  void decode(std::span<const float> logits, Turn& turn, const TextCallback& on_text, const SpecialCallback& on_special);
  std::span<const float> forward(std::span<const Token> tokens, const ForwardOptions& options);

  Model& model_;
  const Tokenizer& tokenizer_;
  ThreadPool& threads_;
  GenerateConfig config_;
  std::unique_ptr<KvCache> cache_;
  SequenceId sequence_;
  Sampler sampler_;
  std::vector<Token> history_;  // the tokens that the cache holds
  std::vector<Token> pending_;  // those after it that are known
};

}  // namespace qjl::engine
