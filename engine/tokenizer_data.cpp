// What a GGUF file says of its tokenizer, checked: lengths that fit each other, ids inside the vocabulary, known kinds.
//
// tokenizer.ggml.{model, pre, tokens, token_type, scores, merges, *_token_id, add_*_token, add_space_prefix},
// tokenizer.chat_template. Where a file is silent the defaults are llama.cpp's.
#include <algorithm>
#include <cmath>
#include <limits>

#include "gguf.hpp"
#include "gguf_reader.hpp"
#include "pretokenizer.hpp"
#include "qjl/error.hpp"
#include "vocabulary.hpp"

namespace qjl::engine {
namespace {

using Type = TokenizerData::Type;

constexpr std::size_t kLongestTokenText = 4096;  // bounds the cost of every look-up; real vocabularies stay below 1000

// Tokens that end an answer by their text, as llama.cpp treats them: files often name only one of several.
constexpr std::string_view kEndTexts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<eos>",
    "<end_of_utterance>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81"
    "of\xE2\x96\x81"
    "sentence\xEF\xBD\x9C>",  // deepseek
};

[[noreturn]] void fail(const std::string& what, const std::string& found, const std::string& wanted) {
  throw Error(ErrorKind::bad_file, "[tokenizer] " + what + ": found " + found + ", wanted " + wanted);
}

Token read_id(const GgufFile& file, std::string_view name, Token absent) {
  const std::string key = "tokenizer.ggml." + std::string(name);
  const std::int64_t id = file.integer_or(key, absent);
  if (id < -1 || id > std::numeric_limits<Token>::max()) fail(key, std::to_string(id), "a token id");
  return static_cast<Token>(id);
}

std::vector<Type> read_types(const GgufFile& file, std::size_t count) {
  const auto* numbers = file.find_integers("tokenizer.ggml.token_type");
  if (numbers == nullptr) return std::vector<Type>(count, Type::normal);
  std::vector<Type> types;
  types.reserve(numbers->size());
  for (const std::int64_t number : *numbers) {
    if (number < 0 || number > 6) fail("tokenizer.ggml.token_type", std::to_string(number), "0 to 6");
    types.push_back(number == 0 ? Type::unused : static_cast<Type>(number));  // 0: undefined
  }
  return types;
}

std::vector<float> read_scores(const GgufFile& file) {
  const auto* numbers = file.find_numbers("tokenizer.ggml.scores");
  if (numbers == nullptr) return {};
  std::vector<float> scores(numbers->size());
  std::transform(numbers->begin(), numbers->end(), scores.begin(), [](double score) { return static_cast<float>(score); });
  return scores;
}

TokenizerData::Model read_model(const GgufFile& file) {
  const std::string& model = file.text("tokenizer.ggml.model");
  if (model == "gpt2") return TokenizerData::Model::bpe;
  if (model == "llama") return TokenizerData::Model::spm;
  throw Error(ErrorKind::unsupported, "[tokenizer] " + file.name() + ": tokenizer.ggml.model: found " + printable(model) +
                                          ", wanted gpt2 (BPE) or llama (SentencePiece)");
}

// Marks the tokens that end an answer: those that the file names, and those known by their text, which become control tokens.
void read_end_of_generation(const GgufFile& file, TokenizerData& data) {
  std::vector<Token>& ends = data.end_of_generation;
  for (const Token token : {data.eos, read_id(file, "eot_token_id", -1), read_id(file, "eom_token_id", -1)}) {
    if (token >= 0) ends.push_back(token);
  }
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    if (std::find(std::begin(kEndTexts), std::end(kEndTexts), data.tokens[i]) == std::end(kEndTexts)) continue;
    data.types[i] = Type::control;
    ends.push_back(static_cast<Token>(i));
  }
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
}

void check_sizes(const TokenizerData& data) {
  const std::size_t count = data.tokens.size();
  if (count == 0 || count > static_cast<std::size_t>(std::numeric_limits<Token>::max())) {
    fail("tokens", std::to_string(count), "1 to 2^31 - 1");
  }
  if (data.types.size() != count) fail("token types", std::to_string(data.types.size()), std::to_string(count) + ", one per token");
  for (const std::string& token : data.tokens) {
    if (token.size() > kLongestTokenText) {
      fail("token " + printable(token), std::to_string(token.size()) + " bytes", "at most " + std::to_string(kLongestTokenText));
    }
  }
}

void check_scores(const TokenizerData& data) {
  if (data.scores.size() != data.tokens.size()) {
    fail("scores", std::to_string(data.scores.size()), std::to_string(data.tokens.size()) + ", one per token");
  }
  for (const float score : data.scores) {
    if (!std::isfinite(score)) fail("scores", std::to_string(score), "finite numbers");
  }
}

void check_id(const TokenizerData& data, const std::string& what, Token id) {
  if (id < -1 || id >= static_cast<Token>(data.tokens.size())) {
    fail(what, std::to_string(id), "a token below " + std::to_string(data.tokens.size()));
  }
}

}  // namespace

void check_tokenizer_data(const TokenizerData& data) {
  check_sizes(data);
  check_id(data, "bos token", data.bos);
  check_id(data, "eos token", data.eos);
  check_id(data, "unknown token", data.unk);
  for (const Token token : data.end_of_generation) check_id(data, "end of generation token", token);
  if (data.add_bos && data.bos < 0) fail("bos token", "none", "one, because add_bos_token is true");
  if (data.add_eos && data.eos < 0) fail("eos token", "none", "one, because add_eos_token is true");
  if (data.model == TokenizerData::Model::spm) {
    check_scores(data);
  } else if (find_pretokenizer(data.pre) == nullptr) {
    throw Error(ErrorKind::unsupported,
                "[tokenizer] pre-tokenizer: found " + printable(data.pre) + ", wanted one of " + known_pretokenizers());
  }
}

Vocabulary make_vocabulary(const TokenizerData& data) {
  Vocabulary vocabulary;
  vocabulary.reserve(data.tokens.size());
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    if (data.tokens[i].empty()) continue;
    const auto [at, is_new] = vocabulary.emplace(data.tokens[i], static_cast<Token>(i));
    if (!is_new)
      fail("token " + printable(data.tokens[i]), "ids " + std::to_string(at->second) + " and " + std::to_string(i), "one id");
  }
  return vocabulary;
}

TokenizerData tokenizer_data(const GgufFile& file) {
  TokenizerData data;
  data.model = read_model(file);
  const bool spm = data.model == TokenizerData::Model::spm;
  data.pre = spm ? "" : file.text_or("tokenizer.ggml.pre", "");
  data.tokens = file.texts("tokenizer.ggml.tokens");
  data.types = read_types(file, data.tokens.size());
  if (spm) {
    data.scores = read_scores(file);
  } else {
    data.merges = file.texts("tokenizer.ggml.merges");
  }
  data.bos = read_id(file, "bos_token_id", spm ? 1 : -1);
  data.eos = read_id(file, "eos_token_id", spm ? 2 : -1);
  data.unk = read_id(file, "unknown_token_id", spm ? 0 : -1);
  const PretokenizerRule* rule = find_pretokenizer(data.pre);
  data.add_bos = file.boolean_or("tokenizer.ggml.add_bos_token", data.bos >= 0 && (spm || (rule != nullptr && rule->adds_bos)));
  data.add_eos = file.boolean_or("tokenizer.ggml.add_eos_token", false);
  data.add_space_prefix = spm && file.boolean_or("tokenizer.ggml.add_space_prefix", true);
  data.chat_template = file.text_or("tokenizer.chat_template", "");
  check_sizes(data);
  read_end_of_generation(file, data);
  check_tokenizer_data(data);
  return data;
}

}  // namespace qjl::engine
