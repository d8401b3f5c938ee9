// Expressions of tokenizer.json in the words of PCRE2, and the ways to cut at their matches.
#include "split_expression.hpp"

#include <gtest/gtest.h>

#include "pretokenizer.hpp"
#include "qjl/error.hpp"
#include "utf8.hpp"

namespace {

using namespace qjl::engine;
using Matches = CutStage::Matches;
using Pieces = std::vector<std::string_view>;

Pieces cut(const std::string& expression, Matches matches, std::string_view text) {
  const CutStage stage{pcre_expression(expression), matches};
  Pieces pieces;
  Pretokenizer({&stage, 1}).split(text, pieces);
  return pieces;
}

TEST(SplitExpression, MeansTheSame) {
  EXPECT_EQ(pcre_expression(R"((?i:'s|'t)| ?\p{L}+|\p{N}{1,3}|\.[/])"), R"((?i:'s|'t)| ?\p{L}+|\p{N}{1,3}|\.[/])");
  EXPECT_EQ(pcre_expression(R"(\s+(?!\S))"), R"([\t-\r\x{85}\p{Z}]+(?![^\t-\r\x{85}\p{Z}]))");
  EXPECT_EQ(pcre_expression(R"([^\s\p{L}]\d)"), R"([^\t-\r\x{85}\p{Z}\p{L}]\p{Nd})");
  EXPECT_EQ(pcre_expression("\\u4E00$"), "\\x{4E00}(?m:$)");
  EXPECT_EQ(cut(quoted_expression("a.b\\Q|\xE2\x96\x81"), Matches::apart, "xa.b\\Q|\xE2\x96\x81y"),
            (Pieces{"x", "a.b\\Q|\xE2\x96\x81", "y"}));
}

TEST(SplitExpression, RefusesWhatIsReadDifferently) {
  for (const char* expression : {R"(\w)", R"(\b)", R"(a{2}+)", "(*UTF)", "(?<n>a)", "(?R)", "[[:alpha:]]", "[a&&b]", "[]a]",
                                 R"([\S])", R"(\1)", R"(\p)", R"(\u12)", "[a", "\\", R"(\K)", "(?C1)"}) {
    EXPECT_THROW(pcre_expression(expression), qjl::Error) << expression;
  }
  const CutStage stage{"(", Matches::apart};
  EXPECT_THROW(Pretokenizer({&stage, 1}), qjl::Error);
}

TEST(SplitExpression, WaysToCut) {
  EXPECT_EQ(cut("-", Matches::apart, "a--b-"), (Pieces{"a", "-", "-", "b", "-"}));
  EXPECT_EQ(cut("-", Matches::dropped, "a--b-"), (Pieces{"a", "b"}));
  EXPECT_EQ(cut("-", Matches::alone, "a--b-"), (Pieces{"-", "-", "-"}));
  EXPECT_EQ(cut("-", Matches::with_previous, "a--b-"), (Pieces{"a-", "-", "b-"}));
  EXPECT_EQ(cut("-", Matches::with_next, "-a--b-"), (Pieces{"-a", "-", "-b", "-"}));
  EXPECT_EQ(cut("-", Matches::joined, "a--b-"), (Pieces{"a", "--", "b", "-"}));
  EXPECT_EQ(cut("x*", Matches::apart, "a\xC3\xA9xxb"), (Pieces{"a\xC3\xA9", "xx", "b"}));  // empty matches cut nothing
}

TEST(WhiteSpace, AtBothEnds) {
  EXPECT_EQ(white_space_at_start(" \n\xC2\xA0\xE3\x80\x80x "), 7u);
  EXPECT_EQ(white_space_at_end(" x\xE3\x80\x80\xC2\x85\t"), 6u);
  EXPECT_EQ(white_space_at_end("\xE2\x80\x8B"), 0u);  // a space of no width is none
  EXPECT_EQ(white_space_at_end("\x85"), 0u);          // nor is a byte that is not UTF-8
  EXPECT_EQ(white_space_at_end("  "), 2u);
  EXPECT_EQ(white_space_at_start(""), 0u);
}

TEST(TextRules, StepsInTheirOrder) {
  using Kind = NormalStep::Kind;
  const std::vector<NormalStep> prepend = {{Kind::prepend, "", "_"}, {Kind::replace, " ", "_"}};
  EXPECT_EQ(to_normal_form(prepend, " a b", true), "__a_b");
  EXPECT_EQ(to_normal_form(prepend, "", true), "");
  const std::vector<NormalStep> first = {{Kind::replace, " ", "_"}, {Kind::prepend_at_start, "", "_"}};
  EXPECT_EQ(to_normal_form(first, " a", true), "_a");
  EXPECT_EQ(to_normal_form(first, "a", true), "_a");
  EXPECT_EQ(to_normal_form(first, "a", false), "a");
  EXPECT_EQ(to_normal_form({{Kind::prepend_if_other, "", "_"}, {Kind::nfc}}, "e\xCC\x81", false), "_\xC3\xA9");
}

}  // namespace
