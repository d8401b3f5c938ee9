// The expressions run in PCRE2, compiled to machine code, with Unicode properties.
//
// White space is written out as [\t-\r\x85\p{Z}], the White_Space property: \s of PCRE2 10.42 has U+180E besides.
// Code points newer than PCRE2's Unicode tables count as neither letters nor numbers.
#include "pretokenizer.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

#define SPACE "\\t-\\r\\x{85}\\p{Z}"
#define TRAILING_SPACE "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" SPACE "\\p{L}\\p{N}]+|" TRAILING_SPACE
// The llama-3 expression with its number part given.
#define LLAMA3(NUMBER)                                                                                                 \
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" NUMBER "| ?[^" SPACE "\\p{L}\\p{N}]+[\\r\\n]*|[" SPACE \
  "]*[\\r\\n]+|" TRAILING_SPACE
#define UPPER "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define LOWER "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
// Words by their case with what may end one, and the number part.
#define CASED(ENDING, NUMBER)                                                                                                 \
  "[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]*[" LOWER "]+" ENDING "|[^\\r\\n\\p{L}\\p{N}]?[" UPPER "]+[" LOWER "]*" ENDING "|" NUMBER \
  "| ?[^" SPACE                                                                                                               \
  "\\p{L}\\p{N}]+"                                                                                                            \
  "[\\r\\n/]*|[" SPACE "]*[\\r\\n]+|" TRAILING_SPACE
#define TEKKEN CASED("", "\\p{N}")
#define GPT4O CASED("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "\\p{N}{1,3}")

const std::vector<PretokenizerRule>& rules() {
  static const std::vector<PretokenizerRule> all = {
      {.names = {"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "gigachat", "mellum", "a.x-4.0", "exaone4",
                 "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "modern-bert"},
       .stages = {GPT2}},
      {.names = {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"},
       .stages = {"\\p{N}", GPT2}},
      {.names = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
       .stages = {LLAMA3("\\p{N}{1,3}")},
       .ignore_merges = true,
       .adds_bos = true},
      {.names = {"dbrx", "smaug-bpe"}, .stages = {LLAMA3("\\p{N}{1,3}")}},
      {.names = {"qwen2", "deepseek-r1-qwen", "megrez"}, .stages = {LLAMA3("\\p{N}")}, .nfc = true},
      {.names = {"kormo", "f2llmv2", "stablelm2", "hunyuan", "solar-open"}, .stages = {LLAMA3("\\p{N}")}},
      {.names = {"gpt-4o"}, .stages = {GPT4O}},
      // What llama.cpp takes where a file names none.
      {.names = {"default"}, .stages = {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
      {.names = {"tekken"}, .stages = {TEKKEN}, .ignore_merges = true, .adds_bos = true},
  };
  return all;
}

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

// A match of an expression in text from `at`; empty when there is none.
std::string_view find_match(const pcre2_code* code, std::string_view text, std::size_t at, pcre2_match_data* data) {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const int rc = pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK, data, nullptr);
  if (rc == PCRE2_ERROR_NOMATCH) return {};
  if (rc < 0) {
    throw Error(ErrorKind::unsupported, "[tokenizer] found PCRE2 error " + std::to_string(rc) + " in a text of " +
                                            std::to_string(text.size()) + " bytes, wanted a match");
  }
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data);
  return text.substr(range[0], range[1] - range[0]);
}

}  // namespace

const PretokenizerRule* find_pretokenizer(std::string_view name) {
  for (const PretokenizerRule& rule : rules()) {
    for (const std::string_view known : rule.names) {
      if (known == name) return &rule;
    }
  }
  return nullptr;
}

std::string known_pretokenizers() {
  std::string out;
  for (const PretokenizerRule& rule : rules()) {
    for (const std::string_view name : rule.names) out.append(out.empty() ? "" : ", ").append(name);
  }
  return out;
}

struct Pretokenizer::Stage {
  std::unique_ptr<pcre2_code, FreeCode> code;
};

Pretokenizer::Pretokenizer(const PretokenizerRule& rule) {
  for (const char* expression : rule.stages) {
    int error = 0;
    PCRE2_SIZE at = 0;
    pcre2_code* code =
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression), PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error, &at, nullptr);
    if (code == nullptr) {
      throw Error(ErrorKind::unsupported, "[tokenizer] found PCRE2 error " + std::to_string(error) + " at " + std::to_string(at) +
                                              " of an expression, wanted a PCRE2 with Unicode properties");
    }
    stages_.push_back({std::unique_ptr<pcre2_code, FreeCode>(code)});
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it pcre2_match interprets: slower, the same matches
  }
}

Pretokenizer::~Pretokenizer() = default;

void Pretokenizer::split(std::string_view text, std::vector<std::string_view>& pieces) const { split_stage(0, text, pieces); }

void Pretokenizer::split_stage(std::size_t stage, std::string_view text, std::vector<std::string_view>& pieces) const {
  if (text.empty()) return;
  if (stage == stages_.size()) {
    pieces.push_back(text);
    return;
  }
  const pcre2_code* code = stages_[stage].code.get();
  const std::unique_ptr<pcre2_match_data, FreeMatch> data(pcre2_match_data_create(1, nullptr));
  std::size_t at = 0;
  while (at < text.size()) {
    const std::string_view match = find_match(code, text, at, data.get());
    if (match.empty()) break;
    const auto begin = static_cast<std::size_t>(match.data() - text.data());
    split_stage(stage + 1, text.substr(at, begin - at), pieces);
    split_stage(stage + 1, match, pieces);
    at = begin + match.size();
  }
  split_stage(stage + 1, text.substr(at), pieces);
}

}  // namespace qjl::engine
