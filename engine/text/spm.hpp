// SentencePiece-style encoding: characters join to the neighbour pair with the best score until no join is in the vocabulary.
//
//   text -> "_" + text when the model adds a prefix, each space -> "_"            ("_" is U+2581)
//   repeat: join the leftmost pair whose text is the token of greatest score
//   what is left and not in the vocabulary: its bytes as <0xNN> tokens, else one unknown token for a run
//
// O(n log n) with a heap of candidates. Source: Kudo, arXiv 1808.06226; the behaviour is that of the library sentencepiece.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "special_tokens.hpp"
#include "vocabulary.hpp"

namespace qjl::engine {

inline constexpr std::string_view kSpmSpace = "\xE2\x96\x81";  // U+2581

// The byte of a byte token's text "<0xNN>", or -1.
int spm_byte(std::string_view token_text);

class Spm {
 public:
  Spm(const TokenizerData& data, const Vocabulary& vocabulary);

  // Appends the tokens of a stretch of text without special tokens. Bytes that are not UTF-8 become byte tokens.
  void encode(std::string_view text, std::vector<Token>& out) const;

 private:
  struct Scratch;

  Token find_join(std::string_view text) const;
  void read_symbols(std::string_view text, Scratch& scratch) const;
  void push_candidate(std::int32_t at, Scratch& scratch) const;
  void merge_all(Scratch& scratch) const;
  void emit_unknown(std::string_view text, std::vector<Token>& out) const;

  const TokenizerData& data_;
  const Vocabulary& vocabulary_;
  SpecialTokens user_defined_;
  std::size_t longest_token_ = 0;
  std::array<Token, 256> byte_tokens_;
};

}  // namespace qjl::engine
