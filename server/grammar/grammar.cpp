// Parts as a list of nodes; their text in xgrammar's EBNF.
#include "grammar.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "qjl/error.hpp"

namespace qjl::server {
namespace {

constexpr char32_t kLastCharacter = 0x10FFFF;

std::string quoted(std::string_view utf8) {
  std::string out = "\"";
  for (const char c : utf8) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string code_point(char32_t c) {
  std::array<char, 11> word{};
  std::snprintf(word.data(), word.size(), "\\U%08X", static_cast<unsigned>(c));
  return word.data();
}

// What is not in the ranges is written where the last character is in them: "[^...]" is what xgrammar is quickest with.
std::string written_class(const std::vector<Grammar::Range>& ranges) {
  const bool negated = ranges.back().last == kLastCharacter;
  std::string out = negated ? "[^" : "[";
  char32_t next = 0;
  for (const auto& [first, last] : ranges) {
    if (!negated) out += code_point(first) + "-" + code_point(last);
    if (negated && first > next) out += code_point(next) + "-" + code_point(first - 1);
    next = last + 1;
  }
  return out + "]";
}

}  // namespace

Grammar::Part Grammar::add(Node node) {
  node.weight = std::min(node.weight, kMostWeight + 1);
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

Grammar::Part Grammar::characters(std::vector<Range> ranges) {
  const auto weight = static_cast<std::int64_t>(ranges.size());
  return add({.kind = Kind::characters, .weight = weight, .ranges = std::move(ranges)});
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

void Grammar::write(std::string& out, Part part) const {
  const Node& n = node(part);
  const auto list = [&](const char* between) {
    out += "(";
    for (std::size_t i = 0; i < n.parts.size(); ++i) {
      if (i > 0) out += between;
      write(out, n.parts[i]);
    }
    out += ")";
  };
  switch (n.kind) {
    case Kind::text: out += quoted(n.text); break;
    case Kind::characters: out += written_class(n.ranges); break;
    case Kind::sequence: n.parts.empty() ? void(out += "\"\"") : list(" "); break;
    case Kind::one_of: list(" | "); break;
    case Kind::repeat:
      if (node(n.parts.front()).kind == Kind::characters)  // in brackets it would be another form, which is slower
        write(out, n.parts.front());
      else
        list(" ");
      if (n.least == 0 && n.most == kNoLimit)
        out += "*";
      else if (n.least == 0 && n.most == 1)
        out += "?";
      else
        out += "{" + std::to_string(n.least) + "," + (n.most == kNoLimit ? "" : std::to_string(n.most)) + "}";
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
