// Parts as a list of nodes; their text in xgrammar's EBNF.
#include "grammar.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "qjl/error.hpp"
#include "utf8.hpp"

namespace qjl::server {
namespace {

std::string quoted(std::string_view utf8) {
  std::string out = "\"";
  for (const char c : utf8) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// In a regular expression.
std::string code_point(char32_t c) {
  std::array<char, 12> word{};
  std::snprintf(word.data(), word.size(), c < 0x80 ? "\\x%02X" : "\\u{%X}", static_cast<unsigned>(c));
  return word.data();
}

// In EBNF. Where the last character is in it, as what is not in it: that, with a count and before a character outside, is what xgrammar
// counts without writing it out.
std::string written_class(const std::vector<Grammar::Range>& ranges) {
  const auto written = [](char32_t c) {
    std::array<char, 11> word{};
    std::snprintf(word.data(), word.size(), "\\U%08X", static_cast<unsigned>(c));
    return std::string(word.data());
  };
  const bool is_negated = ranges.back().last == 0x10FFFF;
  std::string out = is_negated ? "[^" : "[";
  char32_t next = 0;
  for (const auto& [first, last] : ranges) {
    if (!is_negated) out += written(first) + "-" + written(last);
    if (is_negated && first > next) out += written(next) + "-" + written(first - 1);
    next = last + 1;
  }
  return out + "]";
}

std::size_t utf8_bytes(char32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

// In a regular expression. A class for each length of characters, for xgrammar joins the ranges of one (Grammar::characters).
std::string expression_class(const std::vector<Grammar::Range>& ranges) {
  std::string out = "(?:";
  std::size_t bytes = 0;
  for (const auto& [first, last] : ranges) {
    if (bytes != utf8_bytes(first)) out += bytes == 0 ? "[" : "]|[";
    bytes = utf8_bytes(first);
    out += code_point(first) + "-" + code_point(last);
  }
  return out + "])";
}

std::string times(std::int64_t least, std::int64_t most) {
  if (least == 0 && most == Grammar::kNoLimit) return "*";
  if (least == 0 && most == 1) return "?";
  return "{" + std::to_string(least) + "," + std::to_string(most) + "}";
}

}  // namespace

std::u32string code_points(std::string_view utf8) {
  std::u32string out;
  while (!utf8.empty()) {
    const std::size_t bytes = engine::utf8_step(utf8).bytes;
    const auto first = static_cast<unsigned char>(utf8[0]);
    char32_t c = bytes == 1 ? first : first & (0xFFU >> (bytes + 1));
    for (std::size_t i = 1; i < bytes; ++i) c = c << 6U | (static_cast<unsigned char>(utf8[i]) & 0x3FU);
    out += c;
    utf8.remove_prefix(bytes);
  }
  return out;
}

Grammar::Part Grammar::add(Node node) {
  node.weight = std::min(node.weight, kMostWeight + 1);
  const bool has_loop = node.kind == Kind::repeat || node.kind == Kind::rule;
  node.is_finite = !has_loop && std::ranges::all_of(node.parts, [&](Part part) { return this->node(part).is_finite; });
  nodes_.push_back(std::move(node));
  return static_cast<Part>(nodes_.size() - 1);
}

std::int64_t Grammar::weight_of(const std::vector<Part>& parts) const {
  std::int64_t sum = 1;
  for (const Part part : parts) sum += node(part).weight;
  return sum;
}

Grammar::Part Grammar::text(std::string_view utf8) {
  return add({.kind = Kind::text, .weight = static_cast<std::int64_t>(utf8.size()) + 1, .text = std::string(utf8)});
}

// No range has characters of two lengths: xgrammar reads one as of all bytes between its ends, among them what is no UTF-8.
Grammar::Part Grammar::characters(std::vector<Range> ranges) {
  std::vector<Range> split;
  for (auto [first, last] : ranges) {
    for (const char32_t end : {U'\x7F', U'\u07FF', U'\uFFFF', U'\U0010FFFF'}) {
      if (first > end || first > last) continue;
      split.push_back({first, std::min(last, end)});
      first = end + 1;
    }
  }
  const auto weight = static_cast<std::int64_t>(split.size());
  return add({.kind = Kind::characters, .weight = weight, .ranges = std::move(split)});
}

Grammar::Part Grammar::sequence(std::vector<Part> parts) {
  const std::int64_t weight = weight_of(parts);
  return add({.kind = Kind::sequence, .weight = weight, .parts = std::move(parts)});
}

Grammar::Part Grammar::one_of(std::vector<Part> parts) {
  if (parts.size() == 1) return parts.front();
  const std::int64_t weight = weight_of(parts);
  return add({.kind = Kind::one_of, .weight = weight, .parts = std::move(parts)});
}

Grammar::Part Grammar::repeat(Part part, std::int64_t least, std::int64_t most) {
  if (least > 0 && most == kNoLimit) return sequence({repeat(part, least, least), repeat(part, 0, most)});
  const std::int64_t times = std::clamp(std::max(least, most), std::int64_t{1}, 2 * kUnrolled);
  return add({.kind = Kind::repeat, .weight = node(part).weight * times + 1, .parts = {part}, .least = least, .most = most});
}

Grammar::Part Grammar::new_rule() {
  const Part part = add({.kind = Kind::rule, .weight = 1});
  rules_.push_back(part);
  return part;
}

void Grammar::define(Part rule, Part body) {
  weight_ += node(body).weight;
  if (weight_ > kMostWeight) {
    throw Error(ErrorKind::unsupported, "[grammar] found more than " + std::to_string(kMostWeight) +
                                            " parts, wanted fewer: smaller counts, fewer names and alternatives");
  }
  nodes_[static_cast<std::size_t>(rule)].parts = {body};
}

Grammar::Part Grammar::rule(Part body) {
  const Part part = new_rule();
  define(part, body);
  return part;
}

// What ends for certain grows until nothing more does.
bool Grammar::all_end() const {
  std::vector<bool> ends(nodes_.size());
  const auto part_ends = [&](Part part) { return ends[static_cast<std::size_t>(part)]; };
  const auto node_ends = [&](const Node& node) {
    switch (node.kind) {
      case Kind::text:
      case Kind::characters: return true;
      case Kind::sequence: return std::ranges::all_of(node.parts, part_ends);
      case Kind::one_of: return std::ranges::any_of(node.parts, part_ends);
      case Kind::repeat: return node.least == 0 || part_ends(node.parts.front());
      case Kind::rule: return !node.parts.empty() && part_ends(node.parts.front());
    }
    return false;
  };
  for (bool grows = true; grows;) {
    grows = false;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (ends[i] || !node_ends(nodes_[i])) continue;
      ends[i] = grows = true;
    }
  }
  return std::ranges::all_of(rules_, part_ends);
}

// What is written as a regular expression, of which xgrammar makes one automaton, where a repetition of brackets is a step of its parser
// for each time: what repeats without an end and has no repetition inside. Not more: of expressions that have optional or counted
// parts it joins states that it must not (grammar_test.cpp finds them at once).
bool Grammar::is_expression(Part part) const {
  const Node& n = node(part);
  return n.kind == Kind::repeat && n.least == 0 && n.most == kNoLimit && node(n.parts.front()).is_finite;
}

void Grammar::write_expression(std::string& out, Part part) const {
  const Node& n = node(part);
  switch (n.kind) {
    case Kind::text:
      for (const char32_t c : code_points(n.text)) out += code_point(c);
      break;
    case Kind::characters: out += expression_class(n.ranges); break;
    case Kind::sequence:
      for (const Part each : n.parts) write_expression(out, each);
      break;
    case Kind::one_of:
      out += "(?:";
      for (std::size_t i = 0; i < n.parts.size(); ++i) {
        if (i > 0) out += "|";
        write_expression(out, n.parts[i]);
      }
      out += ")";
      break;
    case Kind::repeat:
      out += "(?:";
      write_expression(out, n.parts.front());
      out += ")*";
      break;
    case Kind::rule: break;  // is none
  }
}

void Grammar::write(std::string& out, Part part) const {
  const Node& n = node(part);
  if (is_expression(part)) {
    std::string expression;
    write_expression(expression, part);
    out += "Regex(" + quoted(expression) + ")";
    return;
  }
  const auto list = [&](const char* between) {
    out += "(";
    for (std::size_t i = 0; i < n.parts.size(); ++i) {
      if (i > 0) out += between;
      write(out, n.parts[i]);
    }
    out += n.parts.empty() ? "\"\")" : ")";
  };
  switch (n.kind) {
    case Kind::text: out += quoted(n.text); break;
    case Kind::characters: out += written_class(n.ranges); break;
    case Kind::sequence: list(" "); break;
    case Kind::one_of: list(" | "); break;
    case Kind::repeat:
      if (node(n.parts.front()).kind == Kind::characters)  // in brackets it would be something else to xgrammar
        write(out, n.parts.front());
      else
        list(" ");
      out += times(n.least, n.most);
      break;
    case Kind::rule: out += "r" + std::to_string(static_cast<std::int32_t>(part)); break;
  }
}

std::string Grammar::ebnf(Part start) const {
  std::string out = "root ::= ";
  write(out, start);
  out += "\n";
  for (const Part rule : rules_) {
    write(out, rule);
    out += " ::= ";
    write(out, node(rule).parts.front());
    out += "\n";
  }
  return out;
}

}  // namespace qjl::server
