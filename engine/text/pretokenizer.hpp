// Cuts text into the pieces that byte-level BPE works on, by the regular expressions that a vocabulary was trained with.
//
// A pre-tokenizer is one or more stages. Each stage cuts every piece of the stage before at the matches of its expression
// (text_rules.hpp). The expressions of the table are those of the tokenizer.json files, named as GGUF names them.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text_rules.hpp"

namespace qjl::engine {

// What a name stands for; shared by all its aliases.
struct PretokenizerRule {
  std::vector<std::string_view> names;
  std::vector<const char*> stages;
  bool ignore_merges = false;  // a whole piece that is in the vocabulary is one token
  bool adds_bos = false;       // when the file does not say
  bool nfc = false;            // the text is brought to normal form C first
};

// Null when unknown.
const PretokenizerRule* find_pretokenizer(std::string_view name);
std::string known_pretokenizers();  // "gpt-2, smollm, ..."
TextRules text_rules(const PretokenizerRule& rule);
// The stage of GPT-2, which a tokenizer.json names without spelling it out.
CutStage gpt2_stage();

class Pretokenizer {
 public:
  // Errors: unsupported on an expression that PCRE2 does not compile.
  explicit Pretokenizer(std::span<const CutStage> stages);
  ~Pretokenizer();

  // Appends the pieces of valid UTF-8 text; together they are the text, but for what a stage drops. Thread-safe. Cost: linear in practice, 20 to 50 MB/s.
  void split(std::string_view text, std::vector<std::string_view>& pieces) const;

 private:
  struct Stage;
  void split_stage(std::size_t stage, std::string_view text, std::vector<std::string_view>& pieces) const;
  void split_apart(std::size_t stage, std::string_view text, std::vector<std::string_view>& pieces) const;
  std::vector<Stage> stages_;
};

}  // namespace qjl::engine
