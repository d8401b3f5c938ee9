// Stops: never given out, never begun, and half of one at the end is text. Against a search of the whole text.
#include "stops.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <random>

namespace qjl::server {
namespace {

struct Result {
  std::string text;
  bool stopped;
};

// Feeds the text in pieces of these sizes; after each, what has been given out must be a part of the answer.
Result feed(const std::string& text, const std::vector<std::string>& stops, const std::function<std::size_t()>& size,
            const std::string& wanted) {
  StopFinder finder(stops);
  std::string out;
  for (std::size_t place = 0; place < text.size() && !finder.stopped();) {
    const std::size_t n = std::min(size(), text.size() - place);
    out += finder.feed(text.substr(place, n));
    place += n;
    EXPECT_TRUE(wanted.starts_with(out)) << out << " is no beginning of " << wanted;
  }
  if (!finder.stopped()) out += finder.finish();
  return {out, finder.stopped()};
}

// Up to the stop that is whole first, of two the longer.
std::string cut(const std::string& text, const std::vector<std::string>& stops) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const auto& stop : stops) {
      if (text.substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

TEST(Stops, Examples) {
  const auto one = [] { return std::size_t{1}; };
  for (const auto& [text, stops] : {std::pair<std::string, std::vector<std::string>>{"hello\n\nworld", {"\n\n"}},
                                    {"hello\n", {"\n\n"}},
                                    {"aaab", {"aab"}},
                                    {"abcabx", {"abx", "cab"}},
                                    {"", {"x"}},
                                    {"no stops", {}},
                                    {"stop", {"stop"}},
                                    {"a stop in the middle of", {"stop", "a stop in the middle of"}},
                                    {"one end", {"end", "e end", "d"}}}) {
    const std::string wanted = cut(text, stops);
    EXPECT_EQ(feed(text, stops, one, wanted).text, wanted) << text;
  }
}

// Few letters, so that beginnings of stops are everywhere.
TEST(Stops, RandomTextsInRandomPiecesEqualASearchOfTheWhole) {
  std::mt19937 random(7);
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
  const auto word = [&](int low, int high) {
    std::string text;
    for (int n = draw(low, high); n > 0; --n) text += static_cast<char>('a' + draw(0, 2));
    return text;
  };
  int stopped = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::vector<std::string> stops;
    for (int n = draw(0, 4); n > 0; --n) stops.push_back(word(1, 6));
    const std::string text = word(0, 30), wanted = cut(text, stops);
    const Result result = feed(text, stops, [&] { return static_cast<std::size_t>(draw(1, 5)); }, wanted);
    ASSERT_EQ(result.text, wanted) << text;
    ASSERT_EQ(result.stopped, wanted.size() < text.size());
    stopped += result.stopped ? 1 : 0;
  }
  EXPECT_GT(stopped, 5000);
  EXPECT_LT(stopped, 19'000);
}

}  // namespace
}  // namespace qjl::server
