// A choice's text and tokens: pieces of a stream add up to the whole, no token of a stop is given out, characters are never cut.
#include "choice_text.hpp"

#include <gtest/gtest.h>

#include "byte_tokenizer.hpp"
#include "token_text.hpp"

namespace qjl::server {
namespace {

using engine::Token;

struct Sum {
  std::string text;
  std::vector<Token> tokens;
  std::vector<std::size_t> characters;
  void add(const TextPiece& piece) {
    text += piece.text;
    for (const auto& token : piece.tokens) {
      tokens.push_back(token.scored.token);
      characters.push_back(token.begin_characters);
    }
  }
};

Sum run(ChoiceText& choice, const std::vector<Token>& tokens, bool ends) {
  Sum sum;
  for (std::size_t i = 0; i < tokens.size() && !choice.stopped(); ++i)
    sum.add(choice.add({.token = tokens[i]}, ends && i + 1 == tokens.size()));
  sum.add(choice.finish());
  return sum;
}

std::vector<Token> bytes(std::string_view text) {
  std::vector<Token> tokens;
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

TEST(ChoiceText, CharactersOfSeveralTokensComeWhole) {
  const auto tokenizer = make_byte_tokenizer();
  ChoiceText choice(tokenizer, {});
  EXPECT_EQ(choice.add({.token = 0xC3}, false).text, "");
  EXPECT_EQ(choice.add({.token = 0xA9}, false).text, "\xC3\xA9");
  EXPECT_EQ(choice.add({.token = 0xE2}, false).text, "");
  const TextPiece rest = choice.finish();
  EXPECT_EQ(rest.text, "\xEF\xBF\xBD");
  EXPECT_EQ(rest.tokens.size(), 1U);
}

TEST(ChoiceText, OffsetsAreInCharacters) {
  const auto tokenizer = make_byte_tokenizer();
  ChoiceText choice(tokenizer, {});
  const Sum sum = run(choice, bytes("\xC3\xA9x"), false);
  EXPECT_EQ(sum.text, "\xC3\xA9x");
  EXPECT_EQ(sum.characters, (std::vector<std::size_t>{0, 0, 1}));
}

TEST(ChoiceText, TokensOfAStopAreNotGivenOut) {
  const auto tokenizer = make_byte_tokenizer();
  ChoiceText choice(tokenizer, {"xy"});
  const Sum sum = run(choice, bytes("abxyz"), false);
  EXPECT_TRUE(choice.stopped());
  EXPECT_EQ(sum.text, "ab");
  EXPECT_EQ(sum.tokens, bytes("ab"));
}

TEST(ChoiceText, HalfAStopAtTheEndIsText) {
  const auto tokenizer = make_byte_tokenizer();
  ChoiceText choice(tokenizer, {"xyz"});
  const Sum sum = run(choice, bytes("abxy"), false);
  EXPECT_FALSE(choice.stopped());
  EXPECT_EQ(sum.text, "abxy");
  EXPECT_EQ(sum.tokens, bytes("abxy"));
}

TEST(ChoiceText, TheTokenThatEndsATextIsCountedWithoutItsName) {
  const auto tokenizer = make_byte_tokenizer();
  ChoiceText choice(tokenizer, {});
  const Sum sum = run(choice, {256, 259}, true);
  EXPECT_EQ(sum.text, "ab");
  EXPECT_EQ(sum.tokens, (std::vector<Token>{256, 259}));
}

TEST(ChoiceText, AnEchoComesFirstAndHoldsNoStop) {
  const auto tokenizer = make_byte_tokenizer();
  ChoiceText choice(tokenizer, {"ab"});
  Sum sum;
  sum.add(choice.echo("ab", {{.scored = {.token = 256}}}));
  const Sum rest = run(choice, bytes("cab"), false);
  EXPECT_EQ(sum.text + rest.text, "abc");
  EXPECT_EQ(rest.characters, std::vector<std::size_t>{2});
}

TEST(ChoiceText, ControlTokensOfAnEchoStandWhereTheTextHasThem) {
  const auto tokenizer = make_byte_tokenizer();
  ChoiceText choice(tokenizer, {});
  Sum sum;
  std::vector<PlacedToken> tokens;
  for (const Token token : {259, 257, 256}) tokens.push_back({.scored = {.token = token}});
  sum.add(choice.echo("<|im_start|>ab", std::move(tokens)));  // the first one was added
  EXPECT_EQ(sum.characters, (std::vector<std::size_t>{0, 0, 12}));
}

TEST(TokenText, NamesOfTokens) {
  const auto tokenizer = make_byte_tokenizer();
  EXPECT_EQ(token_name(tokenizer, 'a'), "a");
  EXPECT_EQ(token_name(tokenizer, 0xE2), "bytes:\\xe2");
  EXPECT_EQ(token_name(tokenizer, 259), "</s>");
  EXPECT_EQ(count_characters("a\xC3\xA9\xE2\x82\xAC"), 3U);
}

}  // namespace
}  // namespace qjl::server
