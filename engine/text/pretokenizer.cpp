// The expressions run in PCRE2, compiled to machine code, with Unicode properties.
//
// White space is written out as [\t-\r\x85\p{Z}], the White_Space property: \s of PCRE2 10.42 has U+180E besides.
// Code points newer than PCRE2's Unicode tables count as neither letters nor numbers.
#include "pretokenizer.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "printable.hpp"
#include "qjl/error.hpp"
#include "utf8.hpp"

namespace qjl::engine {
namespace {

#define SPACE "\\t-\\r\\x{85}\\p{Z}"
#define TRAILING_SPACE "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" SPACE "\\p{L}\\p{N}]+|" TRAILING_SPACE
// The llama-3 expression with its number part given; with the classes of what makes a word.
#define LLAMA3(NUMBER) LETTERS("\\p{L}", NUMBER)
#define LETTERS(LETTER, NUMBER)                                                                                               \
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[" LETTER "]+|" NUMBER "| ?[^" SPACE LETTER "\\p{N}]+[\\r\\n]*|[" SPACE \
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
      {.names = {"qwen35"}, .stages = {LETTERS("\\p{L}\\p{M}", "\\p{N}")}, .nfc = true},
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

// The first match of an expression in text from `at` that is not empty; empty when there is none.
std::string_view find_match(const pcre2_code* code, std::string_view text, std::size_t at, pcre2_match_data* data) {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  while (at < text.size()) {
    const int rc = pcre2_match(code, subject, text.size(), at, PCRE2_NO_UTF_CHECK, data, nullptr);
    if (rc == PCRE2_ERROR_NOMATCH) return {};
    if (rc < 0) {
      throw Error(ErrorKind::unsupported, "[tokenizer] found PCRE2 error " + std::to_string(rc) + " in a text of " +
                                              std::to_string(text.size()) + " bytes, wanted a match");
    }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data);
    if (range[1] > range[0]) return text.substr(range[0], range[1] - range[0]);
    if (range[1] >= text.size()) return {};
    at = range[1] + utf8_step(text.substr(range[1])).bytes;
  }
  return {};
}

// A piece of a stage, or what lies between two.
struct Part {
  std::string_view text;
  bool is_match;
};

// Two stretches of one text that touch.
std::string_view join(std::string_view left, std::string_view right) { return {left.data(), left.size() + right.size()}; }

// A match joins the part before it, unless that part ends in one.
std::vector<std::string_view> joined_with_previous(std::span<const Part> parts) {
  std::vector<std::string_view> out;
  bool after_match = false;
  for (const Part& part : parts) {
    if (part.is_match && !after_match && !out.empty()) {
      out.back() = join(out.back(), part.text);
    } else {
      out.push_back(part.text);
    }
    after_match = part.is_match;
  }
  return out;
}

std::vector<std::string_view> joined_with_next(std::span<const Part> parts) {
  std::vector<std::string_view> out;
  bool before_match = false;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (part->is_match && !before_match && !out.empty()) {
      out.back() = join(part->text, out.back());
    } else {
      out.push_back(part->text);
    }
    before_match = part->is_match;
  }
  std::ranges::reverse(out);
  return out;
}

std::vector<std::string_view> chosen(std::span<const Part> parts, CutStage::Matches matches) {
  using Matches = CutStage::Matches;
  std::vector<std::string_view> out;
  switch (matches) {
    case Matches::with_previous: return joined_with_previous(parts);
    case Matches::with_next: return joined_with_next(parts);
    case Matches::apart:
    case Matches::alone:
    case Matches::dropped:
    case Matches::joined: break;
  }
  bool after_match = false;
  for (const Part& part : parts) {
    const bool is_left_out = matches == Matches::alone ? !part.is_match : matches == Matches::dropped && part.is_match;
    if (matches == Matches::joined && part.is_match && after_match) {
      out.back() = join(out.back(), part.text);
    } else if (!is_left_out) {
      out.push_back(part.text);
    }
    after_match = part.is_match;
  }
  return out;
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

TextRules text_rules(const PretokenizerRule& rule) {
  TextRules rules;
  if (rule.nfc) rules.normal.push_back({NormalStep::Kind::nfc});
  for (const char* expression : rule.stages) rules.cuts.push_back({expression});
  rules.ignore_merges = rule.ignore_merges;
  return rules;
}

CutStage gpt2_stage() { return {GPT2}; }

struct Pretokenizer::Stage {
  std::unique_ptr<pcre2_code, FreeCode> code;
  CutStage::Matches matches;
};

Pretokenizer::Pretokenizer(std::span<const CutStage> stages) {
  for (const CutStage& stage : stages) {
    int error = 0;
    PCRE2_SIZE at = 0;
    pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(stage.expression.data()), stage.expression.size(),
                                     PCRE2_UTF | PCRE2_UCP, &error, &at, nullptr);
    if (code == nullptr) {
      throw Error(ErrorKind::unsupported, "[tokenizer] found PCRE2 error " + std::to_string(error) + " at " + std::to_string(at) +
                                              " of the expression " + printable(stage.expression) +
                                              ", wanted one that a PCRE2 with Unicode properties takes");
    }
    stages_.push_back({std::unique_ptr<pcre2_code, FreeCode>(code), stage.matches});
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
  if (stages_[stage].matches == CutStage::Matches::apart) {
    split_apart(stage, text, pieces);
    return;
  }
  const std::unique_ptr<pcre2_match_data, FreeMatch> data(pcre2_match_data_create(1, nullptr));
  std::vector<Part> parts;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::string_view match = find_match(stages_[stage].code.get(), text, at, data.get());
    if (match.empty()) break;
    const auto begin = static_cast<std::size_t>(match.data() - text.data());
    if (begin > at) parts.push_back({text.substr(at, begin - at), false});
    parts.push_back({match, true});
    at = begin + match.size();
  }
  if (at < text.size()) parts.push_back({text.substr(at), false});
  for (const std::string_view piece : chosen(parts, stages_[stage].matches)) split_stage(stage + 1, piece, pieces);
}

// Most stages keep all, piece by piece: nothing is gathered.
void Pretokenizer::split_apart(std::size_t stage, std::string_view text, std::vector<std::string_view>& pieces) const {
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
