// The tokenizer on small vocabularies whose ids can be worked out by hand, and on hostile input. Parity with other tokenizers on
// whole vocabularies is tests/python/test_tokenizer.py.
#include "tokenizer.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "gguf.hpp"
#include "gguf_builder.hpp"
#include "qjl/error.hpp"
#include "special_tokens.hpp"

namespace {

using namespace qjl_test;
using namespace qjl::engine;
using qjl::Error;
using qjl::ErrorKind;
using Special = Tokenizer::Special;
using Type = TokenizerData::Type;

TokenizerData data_of(const GgufBuilder& builder) {
  const Bytes bytes = builder.build();
  return GgufFile::parse(bytes, "test.gguf").tokenizer_data();
}

std::vector<std::string> texts_of(const Tokenizer& tokenizer, const std::vector<Token>& ids) {
  std::vector<std::string> out;
  for (const Token id : ids) out.push_back(tokenizer.data().tokens[static_cast<std::size_t>(id)]);
  return out;
}

std::vector<std::string> encode(const Tokenizer& tokenizer, std::string_view text, Special special = Special::text) {
  return texts_of(tokenizer, tokenizer.encode(text, special));
}

using Texts = std::vector<std::string>;
const std::string kG = "\xC4\xA0";      // the alphabet's space
const std::string kS = "\xE2\x96\x81";  // SentencePiece's space

TEST(Bpe, MergesByRank) {
  const Tokenizer tokenizer(data_of(small_bpe()));
  EXPECT_EQ(encode(tokenizer, "hello"), (Texts{"hello"}));
  EXPECT_EQ(encode(tokenizer, "hell"), (Texts{"hell"}));
  EXPECT_EQ(encode(tokenizer, "helo"), (Texts{"he", "l", "o"}));
  EXPECT_EQ(encode(tokenizer, "lllo"), (Texts{"ll", "l", "o"}));  // equal ranks: the leftmost first
  EXPECT_EQ(encode(tokenizer, "hello world"), (Texts{"hello", kG + "wor", "ld"}));
  EXPECT_EQ(encode(tokenizer, ""), Texts{});
  EXPECT_EQ(encode(tokenizer, "12"), (Texts{"1", "2"}));
}

TEST(Bpe, BytesOutsideUtf8AreKept) {
  TokenizerData data = data_of(small_bpe());
  data.tokens.push_back("\xC3\xBF");  // the alphabet's character of byte FF
  data.types.push_back(Type::normal);
  const Tokenizer tokenizer(std::move(data));
  EXPECT_EQ(encode(tokenizer,
                   "he\xFF"
                   "he"),
            (Texts{"he", "\xC3\xBF", "he"}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("he\xFF\xFF", Special::text)), "he\xFF\xFF");
  // Byte FE has no token here and is left out; so is a lone byte of a character.
  EXPECT_EQ(encode(tokenizer,
                   "h\xFE"
                   "e"),
            (Texts{"h", "e"}));
}

TEST(Bpe, WholePiecesFirstWhereThePretokenizerSaysSo) {
  TokenizerData data = data_of(small_bpe());
  data.tokens.push_back("lol");
  data.types.push_back(Type::normal);
  data.tokens.push_back("lold");
  data.types.push_back(Type::control);
  EXPECT_EQ(encode(Tokenizer(data), "lol"), (Texts{"l", "o", "l"}));
  data.pre = "llama-bpe";
  const Tokenizer whole(data);
  EXPECT_EQ(encode(whole, "lol"), (Texts{"lol"}));
  EXPECT_EQ(encode(whole, "lold"), (Texts{"l", "o", "ld"}));  // a control token is no word
}

TEST(Special, OnlyWhereParsed) {
  const Tokenizer tokenizer(data_of(small_bpe()));
  const Texts as_text = encode(tokenizer, "<|im_end|>");
  EXPECT_EQ(as_text.size(), 10u);
  EXPECT_EQ(encode(tokenizer, "<|im_end|>", Special::parse), (Texts{"<|im_end|>"}));
  EXPECT_EQ(encode(tokenizer, "he<|im_end|>ll<|im_start|>", Special::parse), (Texts{"he", "<|im_end|>", "ll", "<|im_start|>"}));
  // User-defined tokens are words of the vocabulary: they count everywhere.
  EXPECT_EQ(encode(tokenizer, "he<tool>ll", Special::text), (Texts{"he", "<tool>", "ll"}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a<|im_end|><tool>", Special::parse)), "a<tool>");
}

TEST(Special, AsWrittenOrWithoutText) {
  const Tokenizer tokenizer(data_of(small_bpe()));
  EXPECT_EQ(tokenizer.special_piece(tokenizer.find("<|im_end|>")), "<|im_end|>");
  for (const char* text : {"he", "<tool>"}) EXPECT_EQ(tokenizer.special_piece(tokenizer.find(text)), "") << text;
}

TEST(Special, LongestAtTheLeftmostPlace) {
  TokenizerData data = data_of(small_bpe());
  for (const char* text : {"<a", "<ab>", "<abc", "b><|im_end|>"}) {
    data.tokens.emplace_back(text);
    data.types.push_back(Type::control);
  }
  const Tokenizer tokenizer(std::move(data));
  EXPECT_EQ(encode(tokenizer, "<ab>", Special::parse), (Texts{"<ab>"}));
  EXPECT_EQ(encode(tokenizer, "<abcd", Special::parse), (Texts{"<abc", "d"}));
  EXPECT_EQ(encode(tokenizer, "<ax<ab", Special::parse), (Texts{"<a", "x", "<a", "b"}));
  EXPECT_EQ(encode(tokenizer, "<ab><|im_end|>", Special::parse), (Texts{"<ab>", "<|im_end|>"}));
}

TEST(Special, OfEqualTextsTheFirstCounts) {
  const SpecialTokens tokens(
      std::vector<SpecialTokens::Entry>{{"<a>b", 1}, {"<a>", 2}, {"<a>", 3}, {"<a>", 4}, {"<", 5}, {"<", 6}});
  const auto longest = [&](std::string_view text) { return tokens.longest_at_start(text).token; };
  EXPECT_EQ(longest("<a>b"), 1);
  EXPECT_EQ(longest("<a>c"), 2);
  EXPECT_EQ(longest("<a>"), 2);
  EXPECT_EQ(longest("<b"), 5);
  EXPECT_EQ(longest("a"), -1);
}

TEST(Special, StretchesAreOneTextButSpecialTokensDoNotCrossIntoUserText) {
  const Tokenizer tokenizer(data_of(small_bpe()));
  const auto joined = [&](std::vector<Tokenizer::TextPiece> pieces) { return texts_of(tokenizer, tokenizer.encode(pieces)); };
  // Words join across the bound ...
  EXPECT_EQ(joined({{"<|im_start|>he", Special::parse}, {"llo", Special::text}}), (Texts{"<|im_start|>", "hello"}));
  // ... special tokens join across parsed stretches, and never with a user's part.
  EXPECT_EQ(joined({{"<|im_", Special::parse}, {"end|>", Special::parse}}), (Texts{"<|im_end|>"}));
  EXPECT_EQ(joined({{"<|im_", Special::parse}, {"end|>", Special::text}}).size(), 10u);
  EXPECT_EQ(joined({{"<|im_", Special::text}, {"end|>", Special::parse}}).size(), 10u);
  EXPECT_EQ(joined({{"", Special::parse}, {"<|im_end|>", Special::text}, {"", Special::parse}}).size(), 10u);
  EXPECT_EQ(joined({}), Texts{});
}

TEST(Spm, MergesByScoreWithPrefixAndByteFallback) {
  const Tokenizer tokenizer(data_of(small_spm()));
  EXPECT_TRUE(tokenizer.data().add_bos);
  EXPECT_EQ(encode(tokenizer, "hello"), (Texts{kS + "hello"}));
  EXPECT_EQ(encode(tokenizer, " hello"), (Texts{kS + kS, "hello"}));  // two spaces: the best score joins them first
  EXPECT_EQ(encode(tokenizer, "x"), (Texts{kS, "<0x78>"}));
  EXPECT_EQ(encode(tokenizer, "\xC3\xA9\xFF"), (Texts{kS, "<0xC3>", "<0xA9>", "<0xFF>"}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("hello x\xFF\n", Special::text)), " hello x\xFF\n");
  EXPECT_EQ(encode(tokenizer, ""), Texts{});
}

TEST(Spm, ControlTokensNeverComeFromText) {
  const Tokenizer tokenizer(data_of(small_spm()));
  EXPECT_EQ(encode(tokenizer, "<s>"), (Texts{kS, "<s", "<0x3E>"}));
  EXPECT_EQ(encode(tokenizer, "<s>h", Special::parse), (Texts{"<s>", kS, "h"}));
}

TEST(Spm, UnknownTokenWithoutBytes) {
  TokenizerData data = data_of(small_spm());
  for (Type& type : data.types) {
    if (type == Type::byte) type = Type::unused;
  }
  const Tokenizer tokenizer(data);
  EXPECT_EQ(encode(tokenizer, "xyz h"), (Texts{kS, "<unk>", kS, "h"}));  // a run of unknown characters is one
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("xyz", Special::text)), " ");
}

TEST(TokenizerData, EndsOfGeneration) {
  const Tokenizer tokenizer(data_of(small_bpe().u32("tokenizer.ggml.eot_token_id", 5)));
  EXPECT_EQ(tokenizer.data().end_of_generation, (std::vector<Token>{1, 5}));
  EXPECT_TRUE(tokenizer.is_end_of_generation(1));
  EXPECT_FALSE(tokenizer.is_end_of_generation(0));
  EXPECT_EQ(tokenizer.find("<|im_end|>"), 1);
  EXPECT_EQ(tokenizer.find("nothing"), -1);
}

void expect_refused(const std::function<void()>& act, ErrorKind kind, const std::string& part) {
  try {
    act();
    ADD_FAILURE() << "no error, wanted one with '" << part << "'";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << "no '" << part << "' in: " << error.what();
  }
}

TEST(TokenizerData, InconsistentVocabulariesAreRefused) {
  const auto refused = [](const std::function<void(TokenizerData&)>& damage, ErrorKind kind, const std::string& part,
                          bool spm = false) {
    TokenizerData data = data_of(spm ? small_spm() : small_bpe());
    damage(data);
    expect_refused([&] { Tokenizer tokenizer(data); }, kind, part);
  };
  refused([](auto& data) { data.pre = "gemini"; }, ErrorKind::unsupported, "found 'gemini', wanted one of gpt-2,");
  refused([](auto& data) { data.types.pop_back(); }, ErrorKind::bad_file, "one per token");
  refused([](auto& data) { data.tokens[5] = data.tokens[6]; }, ErrorKind::bad_file, "wanted one id");
  refused([](auto& data) { data.tokens.clear(); }, ErrorKind::bad_file, "found 0");
  refused([](auto& data) { data.eos = 1000; }, ErrorKind::bad_file, "found 1000");
  refused([](auto& data) { data.end_of_generation = {-7}; }, ErrorKind::bad_file, "found -7");
  refused([](auto& data) { data.add_bos = true, data.bos = -1; }, ErrorKind::bad_file, "add_bos_token");
  refused([](auto& data) { data.merges.emplace_back("hello"); }, ErrorKind::bad_file, "found no two sides");
  refused([](auto& data) { data.tokens[7] = std::string(5000, 'x'); }, ErrorKind::bad_file, "5000 bytes");
  refused([](auto& data) { data.scores.pop_back(); }, ErrorKind::bad_file, "scores", true);
  refused([](auto& data) { data.scores[9] = std::numeric_limits<float>::quiet_NaN(); }, ErrorKind::bad_file, "finite", true);
  GgufBuilder bert;
  bert.text("tokenizer.ggml.model", "bert");
  expect_refused([&] { data_of(bert); }, ErrorKind::unsupported, "found 'bert', wanted gpt2 (BPE) or llama");
}

// What files lack or have wrong without harm is told of, not refused.
TEST(TokenizerData, WhatIsMissingIsToldOf) {
  const auto warned = [](const TokenizerData& data, const std::string& part) {
    const Tokenizer tokenizer(data);
    ASSERT_EQ(tokenizer.data().warnings.size(), 1u) << part;
    EXPECT_NE(tokenizer.data().warnings[0].find(part), std::string::npos) << tokenizer.data().warnings[0];
  };
  EXPECT_TRUE(data_of(small_bpe()).warnings.empty());
  EXPECT_TRUE(data_of(small_spm()).warnings.empty());
  const TokenizerData unknown = data_of(small_bpe().u32("tokenizer.ggml.unknown_token_id", 4294967295u));
  warned(unknown, "4294967295");
  EXPECT_EQ(unknown.unk, -1);
  const TokenizerData bos = data_of(small_spm().u32("tokenizer.ggml.bos_token_id", 4294967295u));
  warned(bos, "taken as 1");
  EXPECT_EQ(bos.bos, 1);
  TokenizerData merges = data_of(small_bpe());
  merges.merges.insert(merges.merges.begin(), "z z");
  warned(merges, "1 merges");
  EXPECT_EQ(encode(Tokenizer(merges), "zzhello"), (Texts{"z", "z", "hello"}));
}

// Without scores the first of several merges wins; without a pre-tokenizer's name llama.cpp's default cuts: three digits at a time.
TEST(TokenizerData, DefaultsWhereAFileIsSilent) {
  GgufBuilder spm;
  spm.text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", kS, "a", "b", "c", "ab", "bc"});
  const TokenizerData silent = data_of(spm);
  ASSERT_EQ(silent.warnings.size(), 1u);
  EXPECT_NE(silent.warnings[0].find("scores"), std::string::npos) << silent.warnings[0];
  EXPECT_EQ(encode(Tokenizer(silent), "abc"), (Texts{kS, "ab", "c"}));
  GgufBuilder bpe;
  bpe.text("tokenizer.ggml.model", "gpt2").texts("tokenizer.ggml.tokens", {"1", "2", "12", "!", "1!"});
  bpe.texts("tokenizer.ggml.merges", {"1 2", "1 !", "12 12"});
  const Tokenizer tokenizer(data_of(bpe));
  EXPECT_EQ(tokenizer.data().pre, "default");
  ASSERT_EQ(tokenizer.data().warnings.size(), 2u);  // and a merge without a product
  EXPECT_NE(tokenizer.data().warnings[0].find("tokenizer.ggml.pre"), std::string::npos) << tokenizer.data().warnings[0];
  EXPECT_EQ(encode(tokenizer, "121!"), (Texts{"12", "1", "!"}));
}

TEST(Tokenizer, TokensOutsideTheVocabularyAreRefused) {
  const Tokenizer tokenizer(data_of(small_bpe()));
  const auto size = static_cast<Token>(tokenizer.vocab_size());
  for (const Token token : {-1, size}) {
    expect_refused([&] { tokenizer.piece(token); }, ErrorKind::invalid_argument, "found token " + std::to_string(token));
    expect_refused([&] { tokenizer.special_piece(token); }, ErrorKind::invalid_argument, "found token " + std::to_string(token));
  }
}

// Long runs of one kind, the worst that the expressions and the merge loop can meet. A quadratic step would take minutes here.
TEST(Tokenizer, LongRunsGiveTheirBytesBack) {
  TokenizerData data = data_of(small_bpe());
  const std::string units[] = {" ",  "\n",       "l",     "L",         "0",    "!",  "he",   " \n",
                               "'s", "\xC3\xA9", "<|im_", "l\xCC\x81", "\xFF", "Ll", " \t/", "\xCC\x81\xCC\xA3"};
  for (const char* pre : {"gpt-2", "smollm", "llama-bpe", "qwen2", "tekken"}) {
    data.pre = pre;
    const Tokenizer tokenizer(data);
    for (const std::string& unit : units) {
      std::string text;
      while (text.size() < 300'000) text += unit;
      std::string wanted;
      for (const char c : text) {
        if (tokenizer.find(c == ' ' ? kG : c == '\n' ? "\xC4\x8A" : std::string(1, c)) >= 0) wanted += c;
      }
      const std::string back = tokenizer.decode(tokenizer.encode(text, Special::parse));
      // Normal form C changes what has combining marks; there only the time counts.
      const bool composed = std::string_view(pre) == "qwen2" && unit.find('\xCC') != std::string::npos;
      EXPECT_TRUE(composed || back == wanted) << pre << " on a run of '" << unit << "'";
    }
  }
}

}  // namespace
