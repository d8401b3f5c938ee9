// Words of the command line and texts of people: numbers in their ranges, escapes, line ends, control characters.
#include <gtest/gtest.h>

#include <cstdint>
#include <iostream>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "options.hpp"
#include "ranges.hpp"
#include "terminal_text.hpp"
#include "text_input.hpp"

namespace qjl::cli::test {
namespace {

// What a validator makes of a text; "!" and the complaint where it refuses.
std::string read(const CLI::Validator& validator, std::string text) {
  const std::string complaint = validator(text);
  return complaint.empty() ? text : "!" + complaint;
}

TEST(Ranges, WholeNumbersAreDecimalAndInside) {
  const CLI::Validator range = whole(-1, 1024);
  for (const auto& [text, wanted] : {std::pair{"-1", "-1"}, {"0", "0"}, {"1024", "1024"}, {"010", "10"}, {"+7", "7"}, {"-0", "0"}})
    EXPECT_EQ(read(range, text), wanted) << text;
  for (const char* text : {"-2", "1025", "", " 1", "1 ", "8k", "0x10", "1e3", "1.0", "--1", "+", "99999999999999999999", "nan"})
    EXPECT_EQ(read(range, text), "!found " + std::string(text) + ", wanted a whole number, -1 to 1024") << text;
  EXPECT_EQ(read(whole(1), "9223372036854775807"), "9223372036854775807");
  EXPECT_EQ(read(whole(1), "0"), "!found 0, wanted a whole number, 1 or more");
}

TEST(Ranges, RealNumbersAreFinite) {
  for (const auto& [text, above, least, part] : {std::tuple{"0", false, true, true},
                                                 {"-0.5", false, false, false},
                                                 {"0.5", true, true, true},
                                                 {"1", true, true, true},
                                                 {"1.0001", true, true, false},
                                                 {"1e-300", true, true, true},
                                                 {"inf", false, false, false},
                                                 {"nan", false, false, false},
                                                 {"1e999", false, false, false},
                                                 {"1x", false, false, false},
                                                 {"", false, false, false}}) {
    EXPECT_EQ(read(positive(), text)[0] != '!', above && *text != '\0') << text;
    EXPECT_EQ(read(not_negative(), text)[0] != '!', least) << text;
    EXPECT_EQ(read(share(), text)[0] != '!', part) << text;
  }
}

TEST(Ranges, ASharePicksSomething) {
  for (const char* text : {"0", "-0.5", "1.0001", "nan"}) EXPECT_EQ(read(positive_share(), text)[0], '!') << text;
  for (const char* text : {"1e-9", "0.95", "1"}) EXPECT_EQ(read(positive_share(), text), text);
}

TEST(Ranges, SeedsAreOf64BitsOrByChance) {
  EXPECT_EQ(read_seed("0"), 0u);
  EXPECT_EQ(read_seed("18446744073709551615"), ~std::uint64_t{0});
  for (const char* text : {"18446744073709551616", "-2", "", "1.5", "x"})
    EXPECT_THROW(read_seed(text), CLI::ValidationError) << text;
  // Of 64 bits each is 0 in some and 1 in others of 100 seeds, but for once in 2^93.
  std::uint64_t in_all = ~std::uint64_t{0}, in_any = 0;
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t seed = read_seed("-1");
    in_all &= seed, in_any |= seed;
  }
  EXPECT_EQ(in_all, 0u);
  EXPECT_EQ(in_any, ~std::uint64_t{0});
}

// The line after spell_out_short_words, its words joined by spaces.
std::string spelt_out(const std::vector<const char*>& line) {
  std::vector<const char*> argv = {"qjl"};
  argv.insert(argv.end(), line.begin(), line.end());
  std::string joined;
  for (const std::string& word : spell_out_short_words(static_cast<int>(argv.size()), argv.data()))
    joined += (joined.empty() ? "" : " ") + word;
  return joined;
}

TEST(Words, ShortWordsOfSeveralLettersAreSpeltOut) {
  EXPECT_EQ(spelt_out({"run", "-ctk", "k3", "-ctv=v2"}), "run --cache-type-k k3 --cache-type-v=v2");
  EXPECT_EQ(spelt_out({"serve", "-np", "4"}), "serve --parallel 4");
  EXPECT_EQ(spelt_out({"run", "-sp", "-ctk", "k3"}), "run --special --cache-type-k k3");
  EXPECT_THROW(spelt_out({"run", "-ngl", "99"}), Usage);
}

TEST(Words, AValueThatBeginsWithADashAwaitsNone) {
  EXPECT_EQ(spelt_out({"run", "-f", "-", "-ctk", "k3"}), "run -f - --cache-type-k k3");
  EXPECT_EQ(spelt_out({"run", "-n", "-1", "-ctv", "v2"}), "run -n -1 --cache-type-v v2");
  EXPECT_THROW(spelt_out({"run", "--seed", "-1", "-ngl", "99"}), Usage);
  EXPECT_EQ(spelt_out({"run", "-p", "-ctk", "-ctk", "k3"}), "run -p -ctk --cache-type-k k3");
}

TEST(Words, FlagsAndWordsWithAValueAwaitNone) {
  EXPECT_EQ(spelt_out({"serve", "--reproducible", "-np", "4"}), "serve --reproducible --parallel 4");
  EXPECT_EQ(spelt_out({"run", "-e", "-ctk", "k3", "--json", "-ctv", "v2"}), "run -e --cache-type-k k3 --json --cache-type-v v2");
  EXPECT_EQ(spelt_out({"run", "-t2", "-ctk", "k3"}), "run -t2 --cache-type-k k3");
  EXPECT_EQ(spelt_out({"run", "-n-1", "-ctk", "k3"}), "run -n-1 --cache-type-k k3");
  EXPECT_EQ(spelt_out({"run", "--seed=-1", "-ctk=k3"}), "run --seed=-1 --cache-type-k=k3");
  EXPECT_EQ(spelt_out({"run", "--", "-ctk"}), "run -- -ctk");
}

TEST(TextInput, EscapesAreThoseOfC) {
  for (const auto& [text, wanted] : {std::pair<std::string, std::string>{"plain", "plain"},
                                     {R"(a\nb\tc\r)", "a\nb\tc\r"},
                                     {R"(\\n)", "\\n"},
                                     {R"(\"\')", "\"'"},
                                     {R"(\x41\x7a\xFF)", "Az\xFF"},
                                     {R"(\x4)", R"(\x4)"},
                                     {R"(\x4g)", R"(\x4g)"},
                                     {R"(\x414\x)", R"(A4\x)"},
                                     {R"(\x-1 \x+1 \x 1)", R"(\x-1 \x+1 \x 1)"},
                                     {"\\x00", std::string(1, '\0')},
                                     {R"(ax41 \q41)", R"(ax41 \q41)"},
                                     {R"(\q)", R"(\q)"},
                                     {"end\\", "end\\"}}) {
    EXPECT_EQ(unescaped(text), wanted) << text;
  }
}

TEST(TextInput, LinesComeWithoutTheirEnds) {
  std::istringstream typed("one\r\ntwo\n\r\r\n\nlast");
  std::streambuf* const before = std::cin.rdbuf(typed.rdbuf());
  std::vector<std::string> lines;
  for (std::string line; read_line(line);) lines.push_back(line);
  std::cin.rdbuf(before);
  std::cin.clear();
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two", "\r", "", "last"}));
}

TEST(TextInput, WhatEditorsAddGoes) {
  const auto without_mark = [](std::string text) {
    drop_byte_order_mark(text);
    return text;
  };
  const auto without_end = [](std::string text) {
    drop_last_new_line(text);
    return text;
  };
  EXPECT_EQ(without_mark("\xEF\xBB\xBFtext\xEF\xBB\xBF"), "text\xEF\xBB\xBF");
  EXPECT_EQ(without_mark("\xEF\xBB"), "\xEF\xBB");
  EXPECT_EQ(without_end("a\n"), "a");
  EXPECT_EQ(without_end("a\r\n"), "a");
  EXPECT_EQ(without_end("a\r"), "a\r");
  EXPECT_EQ(without_end("a\n\n"), "a\n");
  EXPECT_EQ(without_end(""), "");
}

TEST(TerminalText, ControlCharactersAreNumbers) {
  EXPECT_EQ(one_line("plain \xC3\xA9 \xE4\xB8\xAD"), "plain \xC3\xA9 \xE4\xB8\xAD");
  EXPECT_EQ(one_line("\x1b[2J\r\n\t\x7f"), "\\x1b[2J\\x0d\\x0a\\x09\\x7f");
  EXPECT_EQ(one_line("\xC2\x9b"
                     "2J\xC2\xA0"),
            "\\xc2\\x9b"
            "2J\xC2\xA0");
  EXPECT_EQ(one_line("\x9b\xFF\xC3"), "\\x9b\\xff\\xc3");
  EXPECT_EQ(one_line(std::string_view("\0a", 2)), "\\x00a");
  EXPECT_EQ(shown_text("a\n\tb\x1b\r"), "a\n\tb\\x1b\\x0d");
}

}  // namespace
}  // namespace qjl::cli::test
