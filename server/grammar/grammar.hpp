// A set of texts as rules: what a schema becomes, and what is compiled to masks of tokens.
//
//   part = text | one of some characters | parts in a row | one of some parts | a part some times | a rule's part
//
// Parts are made from parts that are there already, so only rules are recursive. `weight` bounds what a compiler makes of it: a part
// that comes up to k times counts up to kUnrolled times. Cost of everything but ebnf(): O(parts).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qjl::server {

// Of UTF-8 that is valid.
std::u32string code_points(std::string_view utf8);

class Grammar {
 public:
  enum class Part : std::int32_t {};
  struct Range {  // of code points, both ends in it
    char32_t first, last;
  };
  static constexpr std::int64_t kNoLimit = -1;
  static constexpr std::int64_t kUnrolled = 128;      // repetitions that xgrammar writes out
  static constexpr std::int64_t kMostWeight = 60000;  // of a grammar; what it costs to compile stands beside the test of it

  // Errors of all that make parts: unsupported when the grammar grows beyond kMostWeight.
  Part text(std::string_view utf8);
  Part characters(std::vector<Range> ranges);  // ascending, apart; at least one
  Part sequence(std::vector<Part> parts);
  Part one_of(std::vector<Part> parts);  // at least one
  Part repeat(Part part, std::int64_t least, std::int64_t most);
  Part optional(Part part) { return repeat(part, 0, 1); }
  // A part that stands for what define() says, once for each rule; it may stand in its own definition.
  Part new_rule();
  void define(Part rule, Part body);
  // The same at once: a part that stands in several places is written once.
  Part rule(Part body);

  std::int64_t weight() const { return weight_; }
  // Whether every rule has a text that is not endless.
  bool all_end() const;
  // In xgrammar's form, the rule of `start` under the name root.
  std::string ebnf(Part start) const;

 private:
  enum class Kind : std::uint8_t { text, characters, sequence, one_of, repeat, rule };
  struct Node {
    Kind kind;
    std::int64_t weight;
    bool is_finite = true;  // no repetition and no rule in it
    std::string text = {};
    std::vector<Range> ranges = {};
    std::vector<Part> parts = {};  // of a rule: its body, once it is defined
    std::int64_t least = 0, most = 0;
  };

  Part add(Node node);
  const Node& node(Part part) const { return nodes_[static_cast<std::size_t>(part)]; }
  std::int64_t weight_of(const std::vector<Part>& parts) const;
  void write(std::string& out, Part part) const;
  bool is_expression(Part part) const;
  void write_expression(std::string& out, Part part) const;

  std::vector<Node> nodes_;
  std::vector<Part> rules_;
  std::int64_t weight_ = 0;  // of what stands in rules
};

}  // namespace qjl::server
