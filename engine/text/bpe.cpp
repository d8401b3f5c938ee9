// Merges are kept by left token and searched by right token: no hashing, so no input makes a look-up slow.
#include "bpe.hpp"

#include <algorithm>
#include <queue>
#include <tuple>

#include "byte_alphabet.hpp"
#include "nfc.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"
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
    : pretokenizer_(*find_pretokenizer(data.pre)),
      data_(data),
      vocabulary_(vocabulary),
      ignore_merges_(find_pretokenizer(data.pre)->ignore_merges),
      nfc_(find_pretokenizer(data.pre)->nfc) {
  for (std::size_t byte = 0; byte < byte_tokens_.size(); ++byte) {
    byte_tokens_[byte] = find_token(vocabulary, alphabet_character(static_cast<unsigned char>(byte)));
  }
  for (const std::string& token : data.tokens) longest_token_ = std::max(longest_token_, token.size());
  read_merges(data, vocabulary);
}

void Bpe::read_merges(const TokenizerData& data, const Vocabulary& vocabulary) {
  std::vector<NamedMerge> named;
  named.reserve(data.merges.size());
  for (std::size_t rank = 0; rank < data.merges.size(); ++rank) named.push_back(read_merge(data, vocabulary, rank));
  num_unknown_merges_ = std::erase_if(named, [](const NamedMerge& m) { return m.left < 0 || m.right < 0 || m.product < 0; });
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

void Bpe::encode(std::string_view text, std::vector<Token>& out) const {
  Scratch scratch;
  while (!text.empty()) {
    const std::size_t valid = utf8_valid_prefix(text);
    if (nfc_) {
      encode_valid(to_nfc(text.substr(0, valid)), scratch, out);
    } else {
      encode_valid(text.substr(0, valid), scratch, out);
    }
    text.remove_prefix(valid);
    if (text.empty()) return;
    const std::size_t invalid = utf8_step(text).bytes;
    encode_piece(text.substr(0, invalid), scratch, out);
    text.remove_prefix(invalid);
  }
}

void Bpe::encode_valid(std::string_view text, Scratch& scratch, std::vector<Token>& out) const {
  std::vector<std::string_view> pieces;
  pretokenizer_.split(text, pieces);
  for (const std::string_view piece : pieces) encode_piece(piece, scratch, out);
}

// The token of a whole piece when the vocabulary takes pieces before merges, or -1. Never a control token.
Token Bpe::whole_piece(std::string_view piece) const {
  if (!ignore_merges_ || piece.size() > longest_token_) return -1;
  const Token token = find_token(vocabulary_, to_alphabet(piece));
  return token >= 0 && data_.types[static_cast<std::size_t>(token)] == TokenizerData::Type::normal ? token : -1;
}

void Bpe::encode_piece(std::string_view piece, Scratch& scratch, std::vector<Token>& out) const {
  if (const Token whole = whole_piece(piece); whole >= 0) {
    out.push_back(whole);
    return;
  }
  std::vector<Symbol>& symbols = scratch.symbols;
  symbols.clear();
  for (const char byte : piece) {
    const Token token = byte_tokens_[static_cast<unsigned char>(byte)];
    if (token < 0) continue;
    const auto at = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({token, at - 1, at + 1});
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;
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
