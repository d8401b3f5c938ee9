// Files whose size is all they have: ten megabytes that make a reader search what it has read for every new piece. Each is read, or
// refused by a stated bound, within kSeconds; a reader that searches would take minutes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <functional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "qjl/error.hpp"
#include "read_json.hpp"
#include "special_tokens.hpp"
#include "text_hash.hpp"
#include "vocabulary.hpp"

namespace qjl::engine::test {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
constexpr double kSeconds = 20;
#else
constexpr double kSeconds = 2;  // of the processor: one, and as much for a neighbour on the same core
#endif
constexpr std::size_t kBytes = 10'000'000;

double seconds_of(const std::function<void()>& work) {
  const std::clock_t start = std::clock();
  work();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

std::string repeated(std::string_view one, std::size_t bytes) {
  std::string text;
  while (text.size() + one.size() < bytes) text += one;
  return text;
}

// 16 bytes whose std::hash in libstdc++ (MurmurHash64A, seed 0xc70f6907) is the same for all i: the second word undoes what the first
// one did. x ^ x >> 47 is its own inverse, and a product with an odd number has one modulo 2^64.
std::string colliding(std::uint64_t i) {
  constexpr std::uint64_t kMultiplier = 0xc6a4a7935bd1e995, kSeed = 0xc70f6907, kTarget = 0x123456789abcdef;
  std::uint64_t inverse = 1;
  for (int step = 0; step < 6; ++step) inverse *= 2 - kMultiplier * inverse;  // Newton, 6 steps for 64 bits
  const auto shift = [](std::uint64_t x) { return x ^ (x >> 47); };
  const std::uint64_t first = i * 2654435761 + 7;
  const std::uint64_t after = ((kSeed ^ 16 * kMultiplier) ^ shift(first * kMultiplier) * kMultiplier) * kMultiplier;
  const std::uint64_t second = shift((after ^ kTarget) * inverse) * inverse;
  std::string text(16, '\0');
  std::memcpy(text.data(), &first, sizeof(first));
  std::memcpy(text.data() + 8, &second, sizeof(second));
  return text;
}

TEST(WorstCase, TokensThatMeetInStdHash) {
  const std::hash<std::string_view> usual;
  if (usual(colliding(1)) != usual(colliding(2))) GTEST_SKIP() << "another std::hash: these texts do not meet in it";
  TokenizerData data;
  for (std::uint64_t i = 0; i < 200'000; ++i) data.tokens.push_back(colliding(i));
  data.types.assign(data.tokens.size(), TokenizerData::Type::normal);
  Vocabulary vocabulary;
  EXPECT_LT(seconds_of([&] { vocabulary = make_vocabulary(data); }), kSeconds);
  EXPECT_EQ(find_token(vocabulary, data.tokens[777]), 777);
  EXPECT_EQ(find_token(vocabulary, colliding(200'001)), -1);
}

TEST(WorstCase, TheHashTellsTextsApart) {
  const TextHash hash;
  std::set<std::size_t> seen;
  for (int length = 0; length < 40; ++length) seen.insert(hash(std::string(static_cast<std::size_t>(length), '\0')));
  for (std::uint64_t i = 0; i < 1000; ++i) seen.insert(hash(colliding(i)));
  EXPECT_EQ(seen.size(), 1040u);
  EXPECT_EQ(hash("token"), hash(std::string("token")));
}

SpecialTokens special_of(const std::vector<std::string>& texts) {
  std::vector<SpecialTokens::Entry> entries;
  for (const std::string& text : texts) entries.push_back({text, static_cast<Token>(entries.size())});
  return SpecialTokens(std::move(entries));
}

// Ten megabytes of special tokens that begin alike, and a text that goes on beginning like them: each place of it is asked for.
TEST(WorstCase, SpecialTokensThatBeginAlike) {
  const auto letters = [](int count) { return std::string(static_cast<std::size_t>(count), 'a'); };
  std::vector<std::string> ends{std::string("a\0", 2)}, lengths = ends, chain = ends;
  for (int i = 0; i < 2400; ++i) ends.push_back(letters(4090) + std::to_string(100'000 + i));
  for (int i = 1; i < 4000; ++i) lengths.push_back(letters(i) + "b"), chain.push_back(letters(i));
  const std::string same = letters(400'000), turns = repeated("ac", 400'000);
  for (const auto& [texts, text] : {std::pair(&ends, &same), {&lengths, &same}, {&chain, &turns}}) {
    const SpecialTokens tokens = special_of(*texts);
    std::size_t found = 0;
    const double seconds = seconds_of([&] {
      for (std::size_t at = 0; at < text->size(); ++at) found += tokens.longest_at_start(std::string_view(*text).substr(at)).bytes;
    });
    EXPECT_LT(seconds, kSeconds);
    EXPECT_EQ(found, texts == &chain ? text->size() / 2 : 0);
  }
}

TEST(WorstCase, TheLongestSpecialTokenIsTheOneThatReadingThemAllFinds) {
  std::mt19937 random(5);
  const auto draw = [&](unsigned most) {
    std::string text;
    for (unsigned i = random() % most; i > 0; --i) text += "ab\xff"[random() % 3];
    return text;
  };
  for (int round = 0; round < 300; ++round) {
    std::set<std::string> once;
    for (int i = 0; i < 1 << round % 8; ++i) once.insert(draw(12) + "a" + draw(round % 3 == 0 ? 100 : 1));
    const std::vector<std::string> texts(once.begin(), once.end());
    const SpecialTokens tokens = special_of(texts);
    for (int i = 0; i < 100; ++i) {
      const std::string text = i % 2 == 0 ? draw(20) : texts[random() % texts.size()] + draw(5);
      std::size_t longest = 0;
      for (const std::string& one : texts) {
        if (text.starts_with(one)) longest = std::max(longest, one.size());
      }
      const SpecialTokens::Match match = tokens.longest_at_start(text);
      ASSERT_EQ(match.bytes, longest) << text;
      if (longest > 0) {
        ASSERT_EQ(texts[static_cast<std::size_t>(match.token)], text.substr(0, longest));
      }
    }
  }
}

TEST(WorstCase, JsonOfManyObjectsIsRead) {
  const std::string text = "[" + repeated("{},", kBytes) + "{}]";
  nlohmann::ordered_json json;
  EXPECT_LT(seconds_of([&] { json = parse_json(text); }), kSeconds);
  EXPECT_GT(json.size(), 3'000'000u);
}

std::string object_of(int keys) {
  std::string text = "{";
  for (int i = 0; i < keys; ++i) text += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":0";
  return text + "}";
}

void expect_refused(const std::string& text, const std::string& part) {
  try {
    parse_json(text);
    ADD_FAILURE() << "accepted: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_file);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(WorstCase, JsonOfManyKeysIsRefusedAtAStatedBound) {
  EXPECT_EQ(parse_json(object_of(kJsonKeys)).size(), static_cast<std::size_t>(kJsonKeys));
  EXPECT_LT(seconds_of([] { expect_refused(object_of(kJsonKeys + 1), "more than 1000 keys"); }), kSeconds);
  expect_refused(object_of(800'000), "keys");
  const std::string all = "[" + repeated(object_of(kJsonKeys) + ",", kBytes) + "0]";
  EXPECT_LT(seconds_of([&] { expect_refused(all, "more than 50000000 comparisons"); }), kSeconds);
  const std::size_t most = kJsonLooks / (kJsonKeys * (kJsonKeys - 1) / 2);  // objects of so many keys that are read
  const std::size_t bytes = object_of(kJsonKeys).size() + 1;
  const std::string read = "[" + repeated(object_of(kJsonKeys) + ",", most * bytes + 2) + "0]";
  EXPECT_LT(seconds_of([&] { EXPECT_EQ(parse_json(read).size(), most + 1); }), kSeconds);
  EXPECT_LT(seconds_of([&] { EXPECT_EQ(parse_json_object(object_of(800'000), "text").size(), 800'000u); }), kSeconds);
  EXPECT_EQ(parse_json(R"({"a:b:c": ":", "d\":\\": [":{["]})").size(), 2u);  // signs inside strings count for nothing
}

TEST(WorstCase, JsonIsAsDeepAsItsBound) {
  const auto nested = [](int depth) {
    return std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
  };
  EXPECT_NO_THROW(parse_json(nested(kJsonDepth)));
  EXPECT_NO_THROW(check_json_bounds("{}" + nested(kJsonDepth)));
  expect_refused(nested(kJsonDepth + 1), "deeper than 64");
  EXPECT_THROW(parse_json_or_none(nested(kJsonDepth + 1), "text"), Error);
  EXPECT_LT(seconds_of([] { expect_refused(std::string(kBytes, '['), "deeper"); }), kSeconds);
  for (const char* text : {"", "]]]", "]:", "}{", "\"", "\"\\", "{:::", "nul"})
    EXPECT_TRUE(parse_json_or_none(text, "text").is_discarded()) << text;
}

}  // namespace
}  // namespace qjl::engine::test
