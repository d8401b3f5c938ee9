// Text of a choice, token by token.
#include "choice_text.hpp"

#include <algorithm>
#include <string_view>

#include "token_text.hpp"

namespace qjl::server {

TextPiece ChoiceText::echo(const std::string& text, std::vector<PlacedToken> tokens) {
  engine::Utf8Stream characters;
  std::size_t bytes = 0, count = 0;
  for (PlacedToken& token : tokens) {
    token.begin_bytes = bytes;
    token.begin_characters = count;
    std::string shown = shown_text(tokenizer_, token.scored.token);
    // A control token that the text does not spell, a bos that was added, has no place in it.
    const bool spelled = std::string_view(text).substr(std::min(bytes, text.size())).starts_with(shown);
    if (tokenizer_.piece(token.scored.token).empty() && !spelled) shown.clear();
    const std::string whole = characters.feed(shown);
    bytes += whole.size();
    count += count_characters(whole);
  }
  seen_bytes_ = given_bytes_ = text.size();
  seen_characters_ = count_characters(text);
  return {text, std::move(tokens)};
}

TextPiece ChoiceText::add(const engine::ScoredToken& token, bool ends_text) {
  waiting_.push_back({token, seen_bytes_, seen_characters_});
  if (ends_text) return {};
  const std::string whole = characters_.feed(tokenizer_.piece(token.token));
  seen_bytes_ += whole.size();
  seen_characters_ += count_characters(whole);
  return release(finder_.feed(whole), false);
}

TextPiece ChoiceText::finish() {
  if (finder_.stopped()) return release({}, true);
  const std::string rest = characters_.finish();
  seen_bytes_ += rest.size();
  std::string text = finder_.feed(rest);
  if (!finder_.stopped()) text += finder_.finish();
  return release(std::move(text), true);
}

// A token behind the stop is no part of the answer; one that begins where the text ends may still be cut off, unless it is the end.
TextPiece ChoiceText::release(std::string text, bool at_end) {
  TextPiece piece{std::move(text), {}};
  given_bytes_ += piece.text.size();
  while (!waiting_.empty()) {
    const bool given = waiting_.front().begin_bytes < given_bytes_;
    const bool rest = at_end && !finder_.stopped();
    if (!given && !rest) break;
    piece.tokens.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  if (at_end) waiting_.clear();
  return piece;
}

}  // namespace qjl::server
