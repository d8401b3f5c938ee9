// One pass over the characters. What passes is a list of what both syntaxes mean alike; everything else is refused.
#include "split_expression.hpp"

#include <cstdint>

#include "printable.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

constexpr std::size_t kLongest = 65535;
constexpr std::string_view kSpace = "\\t-\\r\\x{85}\\p{Z}";
constexpr std::string_view kGroups[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?i)"};

bool is_letter_or_digit(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

class Translator {
 public:
  explicit Translator(std::string_view expression) : whole_(expression), rest_(expression) {}

  std::string translate() {
    if (whole_.size() > kLongest) fail(std::to_string(whole_.size()) + " bytes", "at most " + std::to_string(kLongest));
    while (!rest_.empty()) in_class_ ? translate_in_class() : translate_outside();
    if (in_class_) fail("a class without an end", "]");
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& found, const std::string& wanted) const {
    throw Error(ErrorKind::unsupported,
                "[tokenizer.json] expression " + printable(whole_) + ": found " + found + ", wanted " + wanted);
  }
  void take(std::size_t bytes) {
    out_ += rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
  }
  void translate_outside();
  void translate_in_class();
  void translate_group();
  void translate_escape();
  void translate_number();

  std::string_view whole_, rest_;
  std::string out_;
  bool in_class_ = false;
};

void Translator::translate_outside() {
  const char c = rest_[0];
  if (c == '\\') return translate_escape();
  if (c == '(') return translate_group();
  if (c == '[') {
    in_class_ = true;
    take(rest_.starts_with("[^") ? 2 : 1);
    if (rest_.starts_with(']')) fail("] first in a class", "\\]");
    return;
  }
  if (c == '^' || c == '$') {  // Ruby's hold at every line
    out_ += c == '^' ? "(?m:^)" : "(?m:$)";
    rest_.remove_prefix(1);
    return;
  }
  if (rest_.starts_with("}+")) fail("}+, which the syntaxes read differently,", "{n,m} alone");
  take(1);
}

void Translator::translate_group() {
  if (rest_.size() > 1 && rest_[1] == '*') fail("(*", "a group");
  if (!rest_.starts_with("(?")) return take(1);
  for (const std::string_view group : kGroups) {
    if (rest_.starts_with(group)) return take(group.size());
  }
  fail(printable(rest_.substr(0, 4)), "groups of the forms (?: (?= (?! (?<= (?<! (?> (?i:");
}

void Translator::translate_in_class() {
  if (rest_[0] == '\\') return translate_escape();
  if (rest_[0] == '[') fail("a class in a class", "none");
  if (rest_.starts_with("&&")) fail("&& in a class", "none");
  in_class_ = rest_[0] != ']';
  take(1);
}

// \uFFFF
void Translator::translate_number() {
  const std::string_view digits = rest_.substr(2, 4);
  if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos)
    fail("\\u", "four digits");
  out_.append("\\x{").append(digits).append("}");
  rest_.remove_prefix(6);
}

void Translator::translate_escape() {
  if (rest_.size() < 2) fail("\\ at the end", "a character after it");
  const char c = rest_[1];
  if (c == 's' || c == 'S') {
    if (c == 'S' && in_class_) fail("\\S in a class", "\\s");
    if (!in_class_) out_ += c == 's' ? "[" : "[^";
    out_ += kSpace;
    if (!in_class_) out_ += "]";
    rest_.remove_prefix(2);
  } else if (c == 'd') {
    out_ += "\\p{Nd}";
    rest_.remove_prefix(2);
  } else if (c == 'p' || c == 'P') {
    const std::size_t end = rest_.find('}');
    if (rest_.size() < 4 || rest_[2] != '{' || end == std::string_view::npos || end > 40)
      fail(printable(rest_.substr(0, 8)), "\\p{...}");
    take(end + 1);
  } else if (c == 'u') {
    translate_number();
  } else if (c == 'r' || c == 'n' || c == 't' || c == 'f' || !is_letter_or_digit(c)) {
    take(2);
  } else {
    fail("\\" + std::string(1, c), "\\s \\d \\p{...} \\r \\n \\t \\f \\u, or a sign that stands for itself");
  }
}

}  // namespace

std::string pcre_expression(std::string_view expression) { return Translator(expression).translate(); }

std::string quoted_expression(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (static_cast<std::uint8_t>(c) < 0x80 && !is_letter_or_digit(c)) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace qjl::engine
