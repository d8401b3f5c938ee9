// What a GGUF file says of its tokenizer, checked: lengths that fit each other, ids inside the vocabulary, known kinds.
//
// tokenizer.ggml.{model, pre, tokens, token_type, scores, merges, *_token_id, add_*_token, add_space_prefix},
// tokenizer.chat_template, tokenizer.chat_template.tool_use. Where a file is silent the defaults are llama.cpp's.
#include <algorithm>

#include "gguf.hpp"
#include "pretokenizer.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"
#include "vocabulary.hpp"

namespace qjl::engine {
namespace {

using Type = TokenizerData::Type;

[[noreturn]] void fail(const std::string& what, const std::string& found, const std::string& wanted) {
  throw Error(ErrorKind::bad_file, "[tokenizer] " + what + ": found " + found + ", wanted " + wanted);
}

// An id that no token has is as good as none: some converters write 2^32 - 1 for "no such token".
Token read_id(const ModelFile& file, TokenizerData& data, std::string_view name, Token absent) {
  const std::string key = "tokenizer.ggml." + std::string(name);
  const std::int64_t id = file.integer_or(key, absent);
  if (id >= -1 && id < std::ssize(data.tokens)) return static_cast<Token>(id);
  if (id == absent) return -1;
  const Token instead = absent < std::ssize(data.tokens) ? absent : -1;
  data.warnings.push_back(key + " is " + std::to_string(id) + ", which is no token: taken as " + std::to_string(instead));
  return instead;
}

std::vector<Type> read_types(const ModelFile& file, std::size_t count) {
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

std::vector<float> read_scores(const ModelFile& file, TokenizerData& data) {
  const auto* numbers = file.find_numbers("tokenizer.ggml.scores");
  if (numbers == nullptr) {
    data.warnings.emplace_back("tokenizer.ggml.scores is missing: every token's is 0, the first of several merges wins");
    return std::vector<float>(data.tokens.size(), 0.0f);
  }
  std::vector<float> scores(numbers->size());
  std::transform(numbers->begin(), numbers->end(), scores.begin(), [](double score) { return static_cast<float>(score); });
  return scores;
}

TokenizerData::Model read_model(const ModelFile& file) {
  const std::string& model = file.text("tokenizer.ggml.model");
  if (model == "gpt2") return TokenizerData::Model::bpe;
  if (model == "llama") return TokenizerData::Model::spm;
  throw Error(ErrorKind::unsupported, "[tokenizer] " + file.name() + ": tokenizer.ggml.model: found " + printable(model) +
                                          ", wanted gpt2 (BPE) or llama (SentencePiece)");
}

}  // namespace

TokenizerData GgufFile::tokenizer_data() const {
  const GgufFile& file = *this;
  TokenizerData data;
  data.model = read_model(file);
  const bool spm = data.model == TokenizerData::Model::spm;
  data.pre = spm ? "" : file.text_or("tokenizer.ggml.pre", "default");
  if (!spm && file.find("tokenizer.ggml.pre") == nullptr) {
    data.warnings.emplace_back(
        "tokenizer.ggml.pre is missing: taken as \"default\", which may cut words where the model's does not");
  }
  data.tokens = file.texts("tokenizer.ggml.tokens");
  data.types = read_types(file, data.tokens.size());
  if (spm) {
    data.scores = read_scores(file, data);
  } else {
    data.merges = file.texts("tokenizer.ggml.merges");
  }
  data.bos = read_id(file, data, "bos_token_id", spm ? 1 : -1);
  data.eos = read_id(file, data, "eos_token_id", spm ? 2 : -1);
  data.unk = read_id(file, data, "unknown_token_id", spm ? 0 : -1);
  const PretokenizerRule* rule = find_pretokenizer(data.pre);
  data.add_bos = file.boolean_or("tokenizer.ggml.add_bos_token", data.bos >= 0 && (spm || (rule != nullptr && rule->adds_bos)));
  data.add_eos = file.boolean_or("tokenizer.ggml.add_eos_token", false);
  data.add_space_prefix = spm && file.boolean_or("tokenizer.ggml.add_space_prefix", true);
  data.chat_template = file.text_or("tokenizer.chat_template", "");
  data.tool_template = file.text_or("tokenizer.chat_template.tool_use", "");
  for (const Token token : {data.eos, read_id(file, data, "eot_token_id", -1), read_id(file, data, "eom_token_id", -1)}) {
    if (token >= 0) data.end_of_generation.push_back(token);
  }
  add_ends_by_text(data);
  check_tokenizer_data(data);
  return data;
}

}  // namespace qjl::engine
