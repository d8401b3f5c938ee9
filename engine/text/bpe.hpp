// Byte-pair encoding: a piece's bytes, or its characters, are tokens; the neighbours with the best merge join until no merge applies.
//
//   repeat: join the leftmost pair (a, b) of least rank into ab
//
// A heap of candidate pairs makes it O(n log n) for a piece of n bytes, whatever the piece.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pretokenizer.hpp"
#include "special_tokens.hpp"
#include "vocabulary.hpp"

namespace qjl::engine {

class Bpe {
 public:
  // Merges whose sides or product are not in the vocabulary never apply. Errors: bad_file on a merge without two sides.
  Bpe(const TokenizerData& data, const Vocabulary& vocabulary);

  std::size_t num_unknown_merges() const { return num_unknown_merges_; }

  // Appends the tokens of a stretch of text without special tokens, in the normal form that the vocabulary wants; at_start: the
  // stretch begins its text. Bytes that are not UTF-8 are pieces of their own. A byte or character that has no token is its bytes as
  // <0xNN>, or the unknown token, or left out, as Hugging Face tokenizers do.
  void encode(std::string_view text, bool at_start, std::vector<Token>& out) const;

 private:
  struct Merge {
    Token right;
    std::int32_t rank;
    Token product;
  };
  struct Scratch;

  void read_merges(const TokenizerData& data, const Vocabulary& vocabulary);
  const Merge* find_merge(Token left, Token right) const;
  Token whole_piece(std::string_view piece) const;
  void read_normal_tokens();
  Token token_of(std::string_view text) const;
  void encode_normal(std::string_view text, bool at_start, Scratch& scratch, std::vector<Token>& out) const;
  void encode_prepared(std::string_view text, bool at_start, Scratch& scratch, std::vector<Token>& out) const;
  void read_symbols(std::string_view piece, Scratch& scratch) const;
  void encode_piece(std::string_view piece, Scratch& scratch, std::vector<Token>& out) const;
  void push_candidate(std::int32_t at, Scratch& scratch) const;
  void merge_all(Scratch& scratch) const;

  TextRules rules_;
  Pretokenizer pretokenizer_;
  const TokenizerData& data_;
  const Vocabulary& vocabulary_;
  std::vector<std::string> normal_texts_;  // of the tokens that are looked for in the normal form
  SpecialTokens normal_tokens_;
  std::size_t num_unknown_merges_ = 0;
  std::size_t longest_token_ = 0;           // bytes of text
  std::array<Token, 256> byte_tokens_;      // of the alphabet, or <0xNN>; -1: the vocabulary lacks it
  std::vector<std::uint32_t> first_merge_;  // [vocab + 1]: merges of a left token are [first_merge_[t], first_merge_[t + 1])
  std::vector<Merge> merges_;               // by left, then right
};

}  // namespace qjl::engine
