// A symbol is a stretch of the escaped text; joining two neighbours only moves an end, so candidates carry lengths, not texts.
#include "spm.hpp"

#include <algorithm>
#include <charconv>
#include <queue>
#include <string>

#include "utf8.hpp"

namespace qjl::engine {
namespace {

struct Symbol {
  std::string_view text;        // empty: joined into its left neighbour
  Token token;                  // -1: not in the vocabulary
  std::int32_t previous, next;  // -1: none
  bool joins;                   // user-defined tokens do not
};

struct Candidate {
  float score;
  std::int32_t at;
  std::size_t bytes;  // of both symbols; other than theirs now: stale
  Token token;
  bool operator<(const Candidate& other) const { return score != other.score ? score < other.score : at > other.at; }
};

std::string escape(std::string_view text, bool add_prefix) {
  std::string out;
  out.reserve(text.size() + text.size() / 2 + kSpmSpace.size());
  if (add_prefix) out += kSpmSpace;
  for (const char c : text) {
    if (c == ' ') {
      out += kSpmSpace;
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

int spm_byte(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  int byte = -1;
  const auto result = std::from_chars(text.data() + 3, text.data() + 5, byte, 16);
  return result.ec == std::errc() && result.ptr == text.data() + 5 ? byte : -1;
}

struct Spm::Scratch {
  std::vector<Symbol> symbols;
  std::priority_queue<Candidate> candidates;
};

Spm::Spm(const TokenizerData& data, const Vocabulary& vocabulary)
    : data_(data), vocabulary_(vocabulary), user_defined_(data, {TokenizerData::Type::user_defined}) {
  byte_tokens_.fill(-1);
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    longest_token_ = std::max(longest_token_, data.tokens[i].size());
    if (data.types[i] != TokenizerData::Type::byte) continue;
    const int byte = spm_byte(data.tokens[i]);
    if (byte >= 0) byte_tokens_[static_cast<std::size_t>(byte)] = static_cast<Token>(i);
  }
}

// The normal token of a text, or -1. Control tokens never come from text.
Token Spm::find_join(std::string_view text) const {
  if (text.size() > longest_token_) return -1;
  const Token token = find_token(vocabulary_, text);
  return token >= 0 && data_.types[static_cast<std::size_t>(token)] == TokenizerData::Type::normal ? token : -1;
}

void Spm::encode(std::string_view text, std::vector<Token>& out) const {
  if (text.empty()) return;
  const std::string escaped = escape(text, data_.add_space_prefix);
  Scratch scratch;
  read_symbols(escaped, scratch);
  merge_all(scratch);
  bool after_unknown = false;
  for (std::int32_t at = 0; at >= 0; at = scratch.symbols[static_cast<std::size_t>(at)].next) {
    const Symbol& symbol = scratch.symbols[static_cast<std::size_t>(at)];
    const std::size_t before = out.size();
    if (symbol.token >= 0) {
      out.push_back(symbol.token);
    } else {
      emit_unknown(symbol.text, out);
    }
    const bool unknown = symbol.token < 0 && out.size() == before + 1 && out.back() == data_.unk;
    if (unknown && after_unknown) out.pop_back();
    after_unknown = unknown;
  }
}

void Spm::read_symbols(std::string_view text, Scratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  while (!text.empty()) {
    const auto at = static_cast<std::int32_t>(symbols.size());
    const SpecialTokens::Match match = user_defined_.longest_at_start(text);
    const std::size_t bytes = match.bytes > 0 ? match.bytes : utf8_step(text).bytes;
    const std::string_view own = text.substr(0, bytes);
    symbols.push_back({own, match.bytes > 0 ? match.token : find_join(own), at - 1, at + 1, match.bytes == 0});
    text.remove_prefix(bytes);
  }
  symbols.back().next = -1;
}

void Spm::push_candidate(std::int32_t at, Scratch& scratch) const {
  const Symbol& left = scratch.symbols[static_cast<std::size_t>(at)];
  if (left.next < 0) return;
  const Symbol& right = scratch.symbols[static_cast<std::size_t>(left.next)];
  if (!left.joins || !right.joins) return;
  const std::size_t bytes = left.text.size() + right.text.size();
  const Token token = find_join({left.text.data(), bytes});
  if (token >= 0) scratch.candidates.push({data_.scores[static_cast<std::size_t>(token)], at, bytes, token});
}

void Spm::merge_all(Scratch& scratch) const {
  std::vector<Symbol>& symbols = scratch.symbols;
  for (std::size_t at = 0; at + 1 < symbols.size(); ++at) push_candidate(static_cast<std::int32_t>(at), scratch);
  while (!scratch.candidates.empty()) {
    const Candidate best = scratch.candidates.top();
    scratch.candidates.pop();
    Symbol& left = symbols[static_cast<std::size_t>(best.at)];
    if (left.text.empty() || left.next < 0) continue;
    Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    if (left.text.size() + right.text.size() != best.bytes) continue;
    left.text = {left.text.data(), best.bytes};
    left.token = best.token;
    left.next = right.next;
    right.text = {};
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = best.at;
    push_candidate(best.at, scratch);
    if (left.previous >= 0) push_candidate(left.previous, scratch);
  }
}

// Bytes as byte tokens when the vocabulary has them all, else one unknown token, else nothing.
void Spm::emit_unknown(std::string_view text, std::vector<Token>& out) const {
  const auto token_of = [this](char byte) { return byte_tokens_[static_cast<unsigned char>(byte)]; };
  if (std::all_of(text.begin(), text.end(), [&](char byte) { return token_of(byte) >= 0; })) {
    for (const char byte : text) out.push_back(token_of(byte));
  } else if (data_.unk >= 0) {
    out.push_back(data_.unk);
  }
}

}  // namespace qjl::engine
