// What is checked of a tokenizer's data, whatever file it came from: lengths that fit each other, ids inside the vocabulary, known
// kinds; and the tokens that end an answer by their text.
#include "vocabulary.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "pretokenizer.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"

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

const TokenizerData::Added* find_added(const TokenizerData& data, Token token) {
  const auto at = std::ranges::lower_bound(data.added, token, {}, &TokenizerData::Added::token);
  return at != data.added.end() && at->token == token ? &*at : nullptr;
}

void add_ends_by_text(TokenizerData& data) {
  check_sizes(data);
  std::vector<Token>& ends = data.end_of_generation;
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    if (std::find(std::begin(kEndTexts), std::end(kEndTexts), data.tokens[i]) == std::end(kEndTexts)) continue;
    data.types[i] = Type::control;
    ends.push_back(static_cast<Token>(i));
  }
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
}

void check_tokenizer_data(const TokenizerData& data) {
  check_sizes(data);
  check_id(data, "bos token", data.bos);
  check_id(data, "eos token", data.eos);
  check_id(data, "unknown token", data.unk);
  for (std::size_t i = 0; i < data.added.size(); ++i) {
    check_id(data, "added token", data.added[i].token);
    if (i > 0 && data.added[i - 1].token >= data.added[i].token) fail("added tokens", "another order", "each once, by id");
  }
  if (data.rules) check_id(data, "token of unknown characters", data.rules->unknown);
  for (const Token token : data.end_of_generation) check_id(data, "end of generation token", token);
  if (data.add_bos && data.bos < 0) fail("bos token", "none", "one, because add_bos_token is true");
  if (data.add_eos && data.eos < 0) fail("eos token", "none", "one, because add_eos_token is true");
  if (data.model == TokenizerData::Model::spm) {
    check_scores(data);
  } else if (!data.rules && find_pretokenizer(data.pre) == nullptr) {
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

}  // namespace qjl::engine
