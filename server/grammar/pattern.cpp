// A descent over code points; every part knows how many characters it may have.
#include "pattern.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include "qjl/error.hpp"

namespace qjl::server {
namespace {

using Ranges = std::vector<Grammar::Range>;
constexpr char32_t kLast = 0x10FFFF;
constexpr std::int64_t kMostTimes = 4096, kMostCharacters = 1 << 20;
constexpr int kMostDepth = 32, kMostLoops = 8;

// In order, apart.
Ranges joined(Ranges ranges) {
  std::ranges::sort(ranges, {}, &Grammar::Range::first);
  Ranges out;
  for (const auto& range : ranges) {
    if (!out.empty() && range.first <= out.back().last + 1)
      out.back().last = std::max(out.back().last, range.last);
    else
      out.push_back(range);
  }
  return out;
}

Ranges complement(const Ranges& ranges, char32_t last) {
  Ranges out;
  char32_t from = 0;
  for (const auto& range : joined(ranges)) {
    if (range.first > last) break;
    if (range.first > from) out.push_back({from, range.first - 1});
    from = range.last + 1;
  }
  if (from <= last) out.push_back({from, last});
  return out;
}

// \d and its like; the great letters are ASCII's other characters.
std::optional<Ranges> kind_of(char32_t letter) {
  const Ranges digit = {{'0', '9'}}, word = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}, space = {{'\t', '\r'}, {' ', ' '}};
  constexpr char32_t kAscii = 0x7F;
  switch (letter) {
    case 'd': return digit;
    case 'w': return word;
    case 's': return space;
    case 'D': return complement(digit, kAscii);
    case 'W': return complement(word, kAscii);
    case 'S': return complement(space, kAscii);
    default: return std::nullopt;
  }
}

std::int64_t sum(std::int64_t a, std::int64_t b) {
  return a == Grammar::kNoLimit || b == Grammar::kNoLimit ? Grammar::kNoLimit : std::min(a + b, kMostCharacters);
}

std::int64_t product(std::int64_t a, std::int64_t times) {
  if (a == 0 || times == 0) return 0;
  return a == Grammar::kNoLimit || times == Grammar::kNoLimit ? Grammar::kNoLimit : std::min(a * times, kMostCharacters);
}

class Reader {
 public:
  Reader(JsonGrammar& json, std::string_view expression) : json_(json), g_(json.grammar()), text_(code_points(expression)) {}

  PatternPart read() {
    std::vector<PatternPart> ways;
    do ways.push_back(anchored());
    while (take('|'));
    if (at_ < text_.size()) invalid("a ) without (");
    return one_of(ways);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorKind::unsupported, "found " + what + ", wanted none");
  }
  [[noreturn]] void invalid(const std::string& what) const { throw Error(ErrorKind::invalid_argument, "found " + what); }

  bool sees(char32_t c) const { return at_ < text_.size() && text_[at_] == c; }
  bool take(char32_t c) { return sees(c) && ++at_ > 0; }
  bool ends() const { return at_ == text_.size() || text_[at_] == '|' || text_[at_] == ')'; }

  void count_loop() {
    if (++loops_ > kMostLoops) refuse("more than " + std::to_string(kMostLoops) + " endless counts");
  }

  PatternPart anything() {
    count_loop();
    return {g_.repeat(json_.character(), 0, Grammar::kNoLimit), 0, Grammar::kNoLimit, true, true};
  }

  PatternPart one_of(const std::vector<PatternPart>& ways) {
    if (ways.size() == 1) return ways.front();
    PatternPart all = ways.front();
    std::vector<Grammar::Part> parts;
    for (const PatternPart& way : ways) {
      parts.push_back(way.part);
      all.least = std::min(all.least, way.least);
      all.begins_counted |= way.begins_counted;
      all.ends_counted |= way.ends_counted;
      all.is_wide |= way.is_wide;
      all.most = all.most == Grammar::kNoLimit || way.most == Grammar::kNoLimit ? Grammar::kNoLimit : std::max(all.most, way.most);
    }
    all.part = g_.one_of(std::move(parts));
    return all;
  }

  PatternPart in_a_row(const std::vector<PatternPart>& row) {
    PatternPart all{};
    std::vector<Grammar::Part> parts;
    for (const PatternPart& each : row) {
      parts.push_back(each.part);
      all.is_wide |= each.is_wide;
      all.least = sum(all.least, each.least);
      all.most = sum(all.most, each.most);
    }
    for (auto each = row.begin(); each != row.end(); ++each) {
      all.begins_counted |= each->begins_counted;
      if (each->least > 0) break;
    }
    for (auto each = row.rbegin(); each != row.rend(); ++each) {
      all.ends_counted |= each->ends_counted;
      if (each->least > 0) break;
    }
    all.part = g_.sequence(std::move(parts));
    return all;
  }

  // An alternative of the whole.
  PatternPart anchored() {
    std::vector<PatternPart> row;
    if (!take('^')) row.push_back(anything());
    while (!ends() && !sees('$')) row.push_back(quantified());
    if (!take('$')) row.push_back(anything());
    if (!ends()) refuse("a ^ or $ inside the pattern");
    return in_a_row(row);
  }

  PatternPart group() {
    if (++depth_ > kMostDepth) refuse("groups deeper than " + std::to_string(kMostDepth));
    if (take('?') && !take(':')) refuse("a group (?");
    std::vector<PatternPart> ways;
    do {
      std::vector<PatternPart> row;
      while (!ends()) row.push_back(quantified());
      ways.push_back(in_a_row(row));
    } while (take('|'));
    if (!take(')')) invalid("a ( without )");
    --depth_;
    return one_of(ways);
  }

  PatternPart quantified() {
    const PatternPart part = atom();
    std::int64_t least = 1, most = 1;
    if (take('*'))
      least = 0, most = Grammar::kNoLimit;
    else if (take('+'))
      most = Grammar::kNoLimit;
    else if (take('?'))
      least = 0;
    else if (take('{'))
      std::tie(least, most) = counts();
    else
      return part;
    take('?');  // which of several matches counts makes no difference to whether there is one
    if (sees('*') || sees('+') || sees('?') || sees('{')) invalid("two counts in a row");
    if (most != 1 && (part.least == 0 || (part.begins_counted && part.ends_counted)))
      refuse("a count of what has counts at both edges, or may be empty");
    if (part.is_wide && most > 1 && most != least) refuse("a count of . or of a negated class that is not exact");
    if (most == Grammar::kNoLimit) count_loop();
    const bool is_counted = least != most;
    return {g_.repeat(part.part, least, most), product(part.least, least),      product(part.most, most),
            is_counted || part.begins_counted, is_counted || part.ends_counted, part.is_wide};
  }

  std::pair<std::int64_t, std::int64_t> counts() {
    const std::int64_t least = count();
    std::int64_t most = least;
    if (take(',')) most = sees('}') ? Grammar::kNoLimit : count();
    if (!take('}')) invalid("a { without }");
    if (most != Grammar::kNoLimit && most < least) invalid("a count whose end is before its beginning");
    return {least, most};
  }

  std::int64_t count() {
    std::int64_t value = 0;
    if (at_ == text_.size() || text_[at_] < '0' || text_[at_] > '9') invalid("a { without a count");
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      value = value * 10 + static_cast<std::int64_t>(text_[at_++] - '0');
      if (value > kMostTimes) refuse("a count above " + std::to_string(kMostTimes));
    }
    return value;
  }

  PatternPart atom() {
    if (take('(')) return group();
    if (take('[')) return one_character(char_class());
    if (take('.')) return one_character(complement({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}, kLast));
    if (take('\\')) return one_character(escape());
    const char32_t c = text_[at_++];
    if (c == '^' || c == '$') refuse("a ^ or $ inside the pattern");
    if (std::u32string_view(U"*+?{}]").find(c) != std::u32string_view::npos) invalid("a count or bracket without what it is of");
    return one_character({{c, c}});
  }

  // After a backslash: one character, or a kind of them.
  Ranges escape() {
    if (at_ == text_.size()) invalid("a \\ at the end");
    const char32_t c = text_[at_++];
    if (const auto kind = kind_of(c)) return *kind;
    constexpr std::pair<char32_t, char32_t> kControls[] = {{'t', '\t'}, {'n', '\n'}, {'r', '\r'}, {'f', '\f'}};
    for (const auto& [letter, control] : kControls) {
      if (c == letter) return {{control, control}};
    }
    if (c == 'u' || c == 'x') {
      const char32_t code = hex_code(c == 'u' ? 4 : 2);
      return {{code, code}};
    }
    const bool is_word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c > 0x7F;
    if (is_word) refuse("an escape \\" + (c > 0x7F ? std::string("?") : std::string(1, static_cast<char>(c))));
    return {{c, c}};
  }

  char32_t hex_code(int digits) {
    constexpr std::u32string_view kHex = U"0123456789abcdefABCDEF";
    char32_t code = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const std::size_t found = at_ < text_.size() ? kHex.find(text_[at_]) : std::u32string_view::npos;
      if (found == std::u32string_view::npos) invalid("an escape without its hexadecimal digits");
      code = code << 4U | static_cast<char32_t>(found < 16 ? found : found - 6);
    }
    return code;
  }

  Ranges char_class() {
    const bool is_negated = take('^');
    Ranges ranges;
    char32_t last = kLast;
    while (!take(']')) {
      bool is_one = true;
      const auto next = [&]() -> Ranges {
        if (at_ == text_.size()) invalid("a [ without ]");
        if (!take('\\')) {
          const char32_t c = text_[at_++];
          return {{c, c}};
        }
        if (take('b')) return {{'\b', '\b'}};
        if (take('-')) return {{'-', '-'}};
        Ranges found = escape();
        is_one = found.size() == 1 && found.front().first == found.front().last;
        return found;
      };
      Ranges found = next();
      if (!is_one) last = 0x7F;
      if (is_one && sees('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        const Ranges end = next();
        if (!is_one || end.front().first < found.front().first) invalid("a class with a range that is none");
        found.front().last = end.front().first;
      }
      ranges.insert(ranges.end(), found.begin(), found.end());
    }
    // What is outside of \d is told apart in ASCII alone: programs differ beyond it.
    return is_negated ? complement(ranges, last) : joined(std::move(ranges));
  }

  // As it is, or as JSON escapes it. Control characters without a short escape are left out, and half pairs.
  PatternPart one_character(const Ranges& ranges) {
    std::vector<Grammar::Part> ways;
    if (Ranges plain = JsonGrammar::plain(ranges); !plain.empty()) ways.push_back(g_.characters(std::move(plain)));
    constexpr std::pair<char32_t, const char*> kEscapes[] = {{'"', "\\\""}, {'\\', "\\\\"}, {'\b', "\\b"}, {'\f', "\\f"},
                                                             {'\n', "\\n"}, {'\r', "\\r"},  {'\t', "\\t"}};
    for (const auto& escape : kEscapes) {
      const auto has = [&](const Grammar::Range& range) { return range.first <= escape.first && escape.first <= range.last; };
      if (std::ranges::any_of(ranges, has)) ways.push_back(g_.text(escape.second));
    }
    if (ways.empty()) refuse("a class without characters");
    return {.part = g_.one_of(std::move(ways)), .least = 1, .most = 1, .is_wide = !ranges.empty() && ranges.back().last == kLast};
  }

  JsonGrammar& json_;
  Grammar& g_;
  const std::u32string text_;
  std::size_t at_ = 0;
  int depth_ = 0, loops_ = 0;
};

}  // namespace

PatternPart read_pattern(JsonGrammar& json, std::string_view expression) { return Reader(json, expression).read(); }

}  // namespace qjl::server
