// Merges are kept by left token and searched by right token: no hashing, so no input makes a look-up slow.
#include "bpe.hpp"

#include <algorithm>
#include <queue>
#include <tuple>

#include "byte_alphabet.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"
#include "spm.hpp"
#include "utf8.hpp"

namespace qjl::engine {
namespace {

// A token of the piece in a doubly linked list; joined ones leave the list.
struct Symbol {
  Token token;
  std::int32_t previous, next;  // -1: none
};

struct Candidate {
  std::int32_t rank, at;
  Token left, right;  // stale when the symbols there have changed since
  bool operator>(const Candidate& other) const { return std::tie(rank, at) > std::tie(other.rank, other.at); }
};

struct NamedMerge {
  Token left, right;
  std::int32_t rank;
  Token product;
};

NamedMerge read_merge(const TokenizerData& data, const Vocabulary& vocabulary, std::size_t rank) {
  const std::string_view text = data.merges[rank];
  const std::size_t space = text.find(' ', 1);
  const auto fail = [&](const std::string& found) {
    throw Error(ErrorKind::bad_file, "[tokenizer] merge " + std::to_string(rank) + " " + printable(text) + ": found " + found +
                                         ", wanted two tokens with a space between");
  };
  if (space == std::string_view::npos || space + 1 == text.size()) fail("no two sides");
  const std::string_view left = text.substr(0, space);
  const std::string_view right = text.substr(space + 1);
  const Token product = find_token(vocabulary, std::string(left).append(right));
  return {find_token(vocabulary, left), find_token(vocabulary, right), static_cast<std::int32_t>(rank), product};
}

}  // namespace

struct Bpe::Scratch {
  std::vector<Symbol> symbols;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
};

Bpe::Bpe(const TokenizerData& data, const Vocabulary& vocabulary)
    : rules_(data.rules ? *data.rules : text_rules(*find_pretokenizer(data.pre))),
      pretokenizer_(rules_.cuts),
      data_(data),
      vocabulary_(vocabulary),
      normal_tokens_(std::vector<SpecialTokens::Entry>{}) {
  byte_tokens_.fill(-1);
  for (std::size_t byte = 0; data.model == TokenizerData::Model::bpe && byte < byte_tokens_.size(); ++byte) {
    byte_tokens_[byte] = find_token(vocabulary, alphabet_character(static_cast<unsigned char>(byte)));
  }
  for (std::size_t i = 0; data.model == TokenizerData::Model::characters && i < data.tokens.size(); ++i) {
    const int byte = data.types[i] == TokenizerData::Type::byte ? spm_byte(data.tokens[i]) : -1;
    if (byte >= 0) byte_tokens_[static_cast<std::size_t>(byte)] = static_cast<Token>(i);
  }
  for (const std::string& token : data.tokens) longest_token_ = std::max(longest_token_, token.size());
  read_normal_tokens();
  read_merges(data, vocabulary);
}

// They are looked for by their own normal form, as Hugging Face tokenizers do.
void Bpe::read_normal_tokens() {
  std::vector<Token> tokens;
  for (const TokenizerData::Added& added : data_.added) {
    if (!added.is_normal || data_.types[static_cast<std::size_t>(added.token)] != TokenizerData::Type::user_defined) continue;
    tokens.push_back(added.token);
    normal_texts_.push_back(to_normal_form(rules_.normal, data_.tokens[static_cast<std::size_t>(added.token)], true));
  }
  std::vector<SpecialTokens::Entry> entries;
  for (std::size_t i = 0; i < tokens.size(); ++i) entries.push_back({normal_texts_[i], tokens[i]});
  normal_tokens_ = SpecialTokens(std::move(entries));
}

void Bpe::read_merges(const TokenizerData& data, const Vocabulary& vocabulary) {
  std::vector<NamedMerge> named;
  named.reserve(data.merges.size());
  for (std::size_t rank = 0; rank < data.merges.size(); ++rank) named.push_back(read_merge(data, vocabulary, rank));
  // Nor does a merge whose product is a control token: text never becomes one.
  num_unknown_merges_ = std::erase_if(named, [&](const NamedMerge& m) {
    return m.left < 0 || m.right < 0 || m.product < 0 ||
           data.types[static_cast<std::size_t>(m.product)] == TokenizerData::Type::control;
  });
  std::sort(named.begin(), named.end(), [](const NamedMerge& a, const NamedMerge& b) {
    return std::tie(a.left, a.right, a.rank) < std::tie(b.left, b.right, b.rank);
  });
  // Of the same pair twice the better rank stays.
  const auto same = [](const NamedMerge& a, const NamedMerge& b) { return a.left == b.left && a.right == b.right; };
  named.erase(std::unique(named.begin(), named.end(), same), named.end());
  first_merge_.assign(data.tokens.size() + 1, 0);
  for (const NamedMerge& merge : named) {
    ++first_merge_[static_cast<std::size_t>(merge.left) + 1];
    merges_.push_back({merge.right, merge.rank, merge.product});
  }
  for (std::size_t token = 1; token < first_merge_.size(); ++token) first_merge_[token] += first_merge_[token - 1];
}

const Bpe::Merge* Bpe::find_merge(Token left, Token right) const {
  const auto begin = merges_.begin() + first_merge_[static_cast<std::size_t>(left)];
  const auto end = merges_.begin() + first_merge_[static_cast<std::size_t>(left) + 1];
  const auto at = std::lower_bound(begin, end, right, [](const Merge& merge, Token token) { return merge.right < token; });
  return at != end && at->right == right ? &*at : nullptr;
}

void Bpe::encode(std::string_view text, bool at_start, std::vector<Token>& out) const {
  Scratch scratch;
  while (!text.empty()) {
    const std::size_t valid = utf8_valid_prefix(text);
    if (valid > 0)
      encode_normal(to_normal_form(rules_.normal, std::string(text.substr(0, valid)), at_start), at_start, scratch, out);
    text.remove_prefix(valid);
    if (text.empty()) return;
    const std::size_t invalid = utf8_step(text).bytes;
    encode_piece(text.substr(0, invalid), scratch, out);
    text.remove_prefix(invalid);
    at_start = false;
  }
}

void Bpe::encode_normal(std::string_view text, bool at_start, Scratch& scratch, std::vector<Token>& out) const {
  std::size_t plain = 0, at = 0;
  while (!normal_tokens_.empty() && at < text.size()) {
    const SpecialTokens::Match match = normal_tokens_.longest_at_start(text.substr(at));
    if (match.bytes == 0) {
      ++at;
      continue;
    }
    const TokenizerData::Added* added = find_added(data_, match.token);
    std::string_view before = text.substr(plain, at - plain);
    if (added->strips_left) before.remove_suffix(white_space_at_end(before));
    encode_prepared(before, at_start && plain == 0, scratch, out);
    out.push_back(match.token);
    at += match.bytes;
    if (added->strips_right) at += white_space_at_start(text.substr(at));
    plain = at;
  }
  encode_prepared(text.substr(plain), at_start && plain == 0, scratch, out);
}

void Bpe::encode_prepared(std::string_view text, bool at_start, Scratch& scratch, std::vector<Token>& out) const {
  std::string own;  // where a step may change the text
  if (!rules_.prepared.empty()) text = own = to_normal_form(rules_.prepared, std::string(text), at_start);
  std::vector<std::string_view> pieces;
  pretokenizer_.split(text, pieces);
  for (const std::string_view piece : pieces) encode_piece(piece, scratch, out);
}

// The token of a text that stands in the vocabulary as an ordinary one, or -1.
Token Bpe::token_of(std::string_view text) const {
  const Token token = find_token(vocabulary_, text);
  return token >= 0 && data_.types[static_cast<std::size_t>(token)] == TokenizerData::Type::normal ? token : -1;
}

// The token of a whole piece when the vocabulary takes pieces before merges, or -1. Never a control token.
Token Bpe::whole_piece(std::string_view piece) const {
  if (!rules_.ignore_merges || piece.size() > longest_token_) return -1;
  return data_.model == TokenizerData::Model::bpe ? token_of(to_alphabet(piece)) : token_of(piece);
}

// Bytes, or characters; of one without a token the bytes, if they have tokens.
void Bpe::read_symbols(std::string_view piece, Scratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  symbols.clear();
  const auto push = [&symbols](Token token) {
    const auto at = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({token, at - 1, at + 1});
  };
  const auto byte_token = [this](char byte) { return byte_tokens_[static_cast<unsigned char>(byte)]; };
  const bool by_bytes = data_.model == TokenizerData::Model::bpe;
  bool after_unknown = false;
  while (!piece.empty()) {
    const std::string_view own = piece.substr(0, by_bytes ? 1 : utf8_step(piece).bytes);
    piece.remove_prefix(own.size());
    const Token token = by_bytes ? byte_token(own[0]) : token_of(own);
    if (token >= 0) {
      push(token);
    } else if (!by_bytes && std::ranges::all_of(own, [&](char byte) { return byte_token(byte) >= 0; })) {
      for (const char byte : own) push(byte_token(byte));
    } else if (rules_.unknown >= 0) {
      if (!after_unknown || !rules_.fuses_unknown) push(rules_.unknown);
      after_unknown = true;
      continue;
    }
    after_unknown = false;
  }
  if (!symbols.empty()) symbols.back().next = -1;
}

void Bpe::encode_piece(std::string_view piece, Scratch& scratch, std::vector<Token>& out) const {
  if (const Token whole = whole_piece(piece); whole >= 0) {
    out.push_back(whole);
    return;
  }
  std::vector<Symbol>& symbols = scratch.symbols;
  read_symbols(piece, scratch);
  if (symbols.empty()) return;
  merge_all(scratch);
  // The first symbol only ever absorbs its right neighbour, so the list begins with it.
  for (std::int32_t at = 0; at >= 0; at = symbols[static_cast<std::size_t>(at)].next) {
    out.push_back(symbols[static_cast<std::size_t>(at)].token);
  }
}

void Bpe::push_candidate(std::int32_t at, Scratch& scratch) const {
  const Symbol& left = scratch.symbols[static_cast<std::size_t>(at)];
  if (left.next < 0) return;
  const Token right = scratch.symbols[static_cast<std::size_t>(left.next)].token;
  if (const Merge* merge = find_merge(left.token, right)) scratch.candidates.push({merge->rank, at, left.token, right});
}

void Bpe::merge_all(Scratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  for (std::size_t at = 0; at + 1 < symbols.size(); ++at) push_candidate(static_cast<std::int32_t>(at), scratch);
  while (!scratch.candidates.empty()) {
    const Candidate best = scratch.candidates.top();
    scratch.candidates.pop();
    Symbol& left = symbols[static_cast<std::size_t>(best.at)];
    if (left.token != best.left || left.next < 0) continue;
    Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    if (right.token != best.right) continue;
    left.token = find_merge(best.left, best.right)->product;
    left.next = right.next;
    right.token = -1;  // no candidate matches it any more
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = best.at;
    push_candidate(best.at, scratch);
    if (left.previous >= 0) push_candidate(left.previous, scratch);
  }
}

}  // namespace qjl::engine
