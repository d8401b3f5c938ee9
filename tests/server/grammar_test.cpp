// Grammars: what xgrammar lets pass is what the parts say, asked of thousands of grammars from a generator and of every short text. The
// judge takes an expression apart by itself.
#include <functional>
#include <random>
#include <set>

#include "schema_fixture.hpp"

namespace qjl::server {
namespace {

using Ends = std::set<std::size_t>;
using Judge = std::function<Ends(const std::string& text, std::size_t from)>;  // where it may end that begins there
struct Made {
  Grammar::Part part;
  Judge judge;
};

Ends after(const Ends& starts, const std::string& text, const Judge& judge) {
  Ends out;
  for (const std::size_t start : starts) out.merge(judge(text, start));
  return out;
}

class Generator {
 public:
  Generator(Grammar& grammar, std::uint64_t seed, bool has_rules) : g_(grammar), random_(seed), has_rules_(has_rules) {}

  Made make(int depth) {
    const unsigned kind = below(depth == 0 ? 2 : 7);
    if (kind == 0) return text();
    if (kind == 1) return character();
    if (kind == 6 && has_rules_) {
      Made inside = make(depth - 1);
      inside.part = g_.rule(inside.part);
      return inside;
    }
    return kind < 4 ? repetition(depth) : several(depth, kind == 4);
  }

 private:
  unsigned below(unsigned end) { return static_cast<unsigned>(random_() % end); }

  Made text() {
    std::string word;
    for (unsigned i = below(3); i > 0; --i) word += static_cast<char>('a' + below(2));
    return {g_.text(word), [word](const std::string& text, std::size_t from) {
              return text.compare(from, word.size(), word) == 0 ? Ends{from + word.size()} : Ends{};
            }};
  }

  Made character() {
    const auto last = static_cast<char32_t>('a' + below(3));
    return {g_.characters({{'a', last}}), [last](const std::string& text, std::size_t from) {
              const bool fits = from < text.size() && static_cast<char32_t>(text[from]) <= last;
              return fits ? Ends{from + 1} : Ends{};
            }};
  }

  Made repetition(int depth) {
    const Made inside = make(depth - 1);
    const unsigned least = below(3);
    const std::int64_t most = below(3) == 0 ? Grammar::kNoLimit : least + below(3);
    if (most == 0) return inside;
    return {g_.repeat(inside.part, least, most), [=, judge = inside.judge](const std::string& text, std::size_t from) {
              Ends now = {from}, out;
              for (std::int64_t i = 0; i <= static_cast<std::int64_t>(text.size() + least) && (most < 0 || i <= most); ++i) {
                if (i >= least) out.insert(now.begin(), now.end());
                now = after(now, text, judge);
              }
              return out;
            }};
  }

  Made several(int depth, bool is_row) {
    std::vector<Grammar::Part> parts;
    std::vector<Judge> judges;
    for (unsigned i = 0; i < 2 + below(2); ++i) {
      const Made each = make(depth - 1);
      parts.push_back(each.part);
      judges.push_back(each.judge);
    }
    return {is_row ? g_.sequence(parts) : g_.one_of(parts), [=](const std::string& text, std::size_t from) {
              Ends row = {from}, any;
              for (const Judge& judge : judges) {
                if (is_row)
                  row = after(row, text, judge);
                else
                  any.merge(judge(text, from));
              }
              return is_row ? row : any;
            }};
  }

  Grammar& g_;
  std::mt19937_64 random_;
  bool has_rules_;
};

std::vector<std::string> short_texts() {
  std::vector<std::string> all = {""};
  for (std::size_t i = 0; all[i].size() < 5; ++i) {
    for (const char c : {'a', 'b'}) all.push_back(all[i] + c);
  }
  for (const char* more : {"c", "ac", "ca", "cc", "abc", "aabbaabb"}) all.emplace_back(more);
  return all;
}

class RandomGrammars : public Schemas {
 protected:
  void compare(bool has_rules, std::uint64_t seeds) {
    const auto texts = short_texts();
    int passing = 0;
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
      Grammar grammar;
      const Made made = Generator(grammar, seed, has_rules).make(4);
      const std::string written = grammar.ebnf(made.part);
      const auto compiled = compiler_->compile(written);
      for (const std::string& text : texts) {
        const bool wanted = made.judge(text, 0).contains(text.size());
        passing += wanted ? 1 : 0;
        ASSERT_EQ(passes(*compiled, text), wanted) << "seed " << seed << ", text " << text << "\n" << written;
      }
    }
    EXPECT_GT(passing, static_cast<int>(seeds));  // the texts are no strangers to the grammars
  }
};

TEST_F(RandomGrammars, RegularOnesAreWhatTheirPartsSay) { compare(false, 1500); }
TEST_F(RandomGrammars, OnesWithRulesAreWhatTheirPartsSay) { compare(true, 1500); }

}  // namespace
}  // namespace qjl::server
