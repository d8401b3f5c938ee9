// One choice on its way from tokens to text: whole characters, stops, and which tokens belong to the text that is given out.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "request.hpp"
#include "stops.hpp"
#include "tokenizer.hpp"

namespace qjl::server {

// A token of an answer, and where its text begins: in bytes of UTF-8 from the start of the text, and in characters.
struct PlacedToken {
  engine::ScoredToken scored;
  std::size_t begin_bytes = 0, begin_characters = 0;
  bool has_scores = true;  // false: the first token of a prompt
};

struct TextPiece {
  std::string text;
  std::vector<PlacedToken> tokens;  // those whose text begins in what has been given out
};

class ChoiceText {
 public:
  ChoiceText(const engine::Tokenizer& tokenizer, std::vector<std::string> stops)
      : tokenizer_(tokenizer), finder_(std::move(stops)) {}

  // A prompt that is repeated: its tokens and its text come before everything else, and no stop is looked for in them.
  TextPiece echo(const std::string& text, std::vector<PlacedToken> tokens);
  // ends_text: its own text is not part of the answer.
  TextPiece add(const engine::ScoredToken& token, bool ends_text);
  TextPiece finish();
  bool stopped() const { return finder_.stopped(); }

 private:
  TextPiece release(std::string text, bool at_end);

  const engine::Tokenizer& tokenizer_;
  engine::Utf8Stream characters_;
  StopFinder finder_;
  std::deque<PlacedToken> waiting_;                   // for their text to be certain
  std::size_t seen_bytes_ = 0, seen_characters_ = 0;  // that came out of characters_
  std::size_t given_bytes_ = 0;
};

// A choice as far as it has come.
struct Choice {
  int index = 0;
  std::string text = {};
  std::vector<PlacedToken> tokens = {};
  const std::vector<engine::Token>* prompt = nullptr;  // where its token ids are asked for
  bool returns_ids = false;
  bool has_scores = false;
  std::optional<std::string> finish = {};
};

}  // namespace qjl::server
