// Token texts to ids. The texts are views of the TokenizerData that the vocabulary was made from.
#pragma once

#include <string_view>
#include <unordered_map>

#include "text_hash.hpp"
#include "tokenizer.hpp"

namespace qjl::engine {

using Vocabulary = std::unordered_map<std::string_view, Token, TextHash>;

// Errors: bad_file when two tokens have the same text. Tokens without text are left out.
Vocabulary make_vocabulary(const TokenizerData& data);

// -1 when absent.
inline Token find_token(const Vocabulary& vocabulary, std::string_view text) {
  const auto at = vocabulary.find(text);
  return at == vocabulary.end() ? -1 : at->second;
}

// What `added` says of a token, or null.
const TokenizerData::Added* find_added(const TokenizerData& data, Token token);

// Joins to end_of_generation the tokens that end an answer by their text, which become control tokens; each stands once, in order.
// Errors: bad_file when there are no tokens, or not one type each.
void add_ends_by_text(TokenizerData& data);

// Errors: bad_file when fields do not fit each other, unsupported on an unknown pre-tokenizer.
void check_tokenizer_data(const TokenizerData& data);

}  // namespace qjl::engine
