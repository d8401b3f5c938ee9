// Outside of braces everything is data; {{, {% and {# open expressions, statements and comments; {% raw %} is data up to its end.
//
// White space: a minus sign inside a brace takes all of it on that side; without a sign a statement or comment takes the spaces in
// front of it, if nothing else stands on the line, and one newline behind it. A plus sign keeps both.
#include "lexer.hpp"

#include <algorithm>
#include <array>

#include "characters.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"
#include "string_literal.hpp"

namespace qjl::engine::jinja {
namespace {

using Kind = Token::Kind;
constexpr auto kNone = std::string_view::npos;

constexpr std::array<std::string_view, 25> kSigns = {"//", "**", "==", "!=", "<=", ">=", "+", "-", "/", "*", "%", "~", "[",
                                                     "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ","};

// One kind of newline, and none at the very end.
std::string with_plain_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t at = 0; at < source.size(); ++at) {
    const bool pair = source[at] == '\r' && at + 1 < source.size() && source[at + 1] == '\n';
    if (pair) ++at;
    out += source[at] == '\r' ? '\n' : source[at];
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

bool is_word(char32_t code) { return code == '_' || is_letter(code) || is_numeric(code); }

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(with_plain_newlines(source)), rest_(source_) {}

  std::vector<Token> read() {
    while (!rest_.empty()) read_data();
    add(Kind::end, "");
    return std::move(tokens_);
  }

 private:
  void add(Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  std::string_view skip(std::size_t bytes) {
    const std::string_view skipped = rest_.substr(0, bytes);
    line_ += static_cast<int>(std::count(skipped.begin(), skipped.end(), '\n'));
    if (!skipped.empty()) after_newline_ = skipped.back() == '\n';
    rest_.remove_prefix(skipped.size());
    return skipped;
  }
  void skip_spaces() { skip(rest_.size() - trim_start(rest_).size()); }
  bool take(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    skip(text.size());
    return true;
  }

  // The data before a brace, without what the brace takes of it.
  void add_data(std::string_view data, char sign, bool is_variable, bool line_starts) {
    if (sign == '-') {
      data = trim_end(data);
    } else if (sign != '+' && !is_variable) {
      const std::size_t line = data.rfind('\n') + 1;  // 0 when there is none
      if ((line > 0 || line_starts) && trim_start(data.substr(line)).empty()) data = data.substr(0, line);
    }
    if (!data.empty()) add(Kind::data, std::string(data));
  }

  static std::size_t find_brace(std::string_view text) {
    for (std::size_t at = text.find('{'); at != kNone; at = text.find('{', at + 1)) {
      if (at + 1 < text.size() && (text[at + 1] == '{' || text[at + 1] == '%' || text[at + 1] == '#')) return at;
    }
    return kNone;
  }

  void read_data() {
    const bool line_starts = after_newline_;
    const std::size_t brace = find_brace(rest_);
    const std::string_view data = rest_.substr(0, brace);
    if (brace == kNone) {
      add(Kind::data, std::string(data));
      rest_ = {};
      return;
    }
    const char kind = rest_[brace + 1];
    const std::string_view after = rest_.substr(brace + 2);
    const char sign = after.starts_with('-') || after.starts_with('+') ? after[0] : ' ';
    add_data(data, sign, kind == '{', line_starts);
    skip(brace + (sign == ' ' ? 2 : 3));
    if (kind == '#') return read_comment();
    if (kind == '%' && take_raw()) return;
    add(kind == '%' ? Kind::block_begin : Kind::variable_begin, "");
    read_code(kind == '%' ? Kind::block_end : Kind::variable_end);
  }

  void end_brace(char sign, bool takes_newline) {
    if (sign == '-') {
      skip_spaces();
    } else if (sign != '+' && takes_newline) {
      take("\n");
    }
  }

  void read_comment() {
    const int line = line_;
    const std::size_t end = rest_.find("#}");
    if (end == kNone) refuse(line, "a comment without an end", "#}");
    const char sign = end > 0 && (rest_[end - 1] == '-' || rest_[end - 1] == '+') ? rest_[end - 1] : ' ';
    skip(end + 2);
    end_brace(sign, true);
  }

  // After "{%": the word and the end of the brace; rest_ stands behind it where the answer is true.
  bool take_tag(std::string_view word, std::string_view text, char& sign, std::size_t& bytes) const {
    std::string_view left = trim_start(text);
    if (!left.starts_with(word)) return false;
    left = trim_start(left.substr(word.size()));
    sign = left.starts_with('-') || left.starts_with('+') ? left[0] : ' ';
    if (sign != ' ') left.remove_prefix(1);
    if (!left.starts_with("%}")) return false;
    bytes = text.size() - left.size() + 2;
    return true;
  }

  bool take_raw() {
    char sign = ' ';
    std::size_t bytes = 0;
    if (!take_tag("raw", rest_, sign, bytes) || sign == '+') return false;
    const int line = line_;
    skip(bytes);
    if (sign == '-') skip_spaces();
    for (std::size_t at = rest_.find("{%"); at != kNone; at = rest_.find("{%", at + 2)) {
      std::string_view inside = rest_.substr(at + 2);
      const char open = inside.starts_with('-') || inside.starts_with('+') ? inside[0] : ' ';
      if (open != ' ') inside.remove_prefix(1);
      if (!take_tag("endraw", inside, sign, bytes)) continue;
      add_data(rest_.substr(0, at), open, false, after_newline_);
      skip(at + (open == ' ' ? 2 : 3) + bytes);
      end_brace(sign, true);
      return true;
    }
    refuse(line, "raw without an end", "{% endraw %}");
  }

  bool take_end(Kind end) {
    const std::string_view brace = end == Kind::block_end ? "%}" : "}}";
    const bool minus = rest_.starts_with('-'), plus = rest_.starts_with('+') && end == Kind::block_end;
    if (!rest_.substr(minus || plus ? 1 : 0).starts_with(brace)) return false;
    skip(minus || plus ? 3 : 2);
    add(end, "");
    end_brace(minus ? '-' : plus ? '+' : ' ', end == Kind::block_end);
    return true;
  }

  void read_code(Kind end) {
    const int line = line_;
    std::string open;  // brackets that are not closed; inside them }} is two brackets
    for (;;) {
      skip_spaces();
      if (rest_.empty()) refuse(line, "the end of the template inside braces", end == Kind::block_end ? "%}" : "}}");
      if (open.empty() && take_end(end)) return;
      read_token(open);
    }
  }

  void read_token(std::string& open) {
    const Character first = first_character(rest_);
    if (first.code >= '0' && first.code <= '9') return read_number();
    if (is_word(first.code)) {
      std::size_t bytes = 0;
      while (bytes < rest_.size() && is_word(first_character(rest_.substr(bytes)).code))
        bytes += first_character(rest_.substr(bytes)).bytes;
      return add(Kind::name, std::string(skip(bytes)));
    }
    if (first.code == '\'' || first.code == '"') return read_string();
    for (const std::string_view sign : kSigns) {
      if (!rest_.starts_with(sign)) continue;
      if (sign == "{" || sign == "(" || sign == "[") open += sign == "{" ? '}' : sign == "(" ? ')' : ']';
      if (sign == "}" || sign == ")" || sign == "]") {
        if (open.empty() || open.back() != sign[0]) {
          refuse(line_, printable(sign), open.empty() ? "no closing bracket" : std::string(1, open.back()));
        }
        open.pop_back();
      }
      return add(Kind::sign, std::string(skip(sign.size())));
    }
    refuse(line_, printable(rest_.substr(0, first.bytes)), "an expression");
  }

  void read_string() {
    const int line = line_;
    const char quote = rest_[0];
    std::size_t end = 1;
    while (end < rest_.size() && rest_[end] != quote) end += rest_[end] == '\\' ? 2 : 1;
    if (end >= rest_.size()) refuse(line, "a string without an end", std::string(1, quote));
    std::string value = string_value(rest_.substr(1, end - 1), line);
    skip(end + 1);
    tokens_.push_back({Kind::string, std::move(value), line});
  }

  // Digits with single underscores between them, from `at` on.
  std::size_t digits(std::size_t at, std::string_view of) const {
    std::size_t end = at;
    while (end < rest_.size() && (of.find(rest_[end]) != kNone || (rest_[end] == '_' && end > at && rest_[end - 1] != '_'))) ++end;
    if (end > at && rest_[end - 1] == '_') --end;
    return end;
  }

  void read_number() {
    constexpr std::string_view kDecimal = "0123456789";
    if (rest_[0] == '0' && rest_.size() > 2) {
      const char base = static_cast<char>(rest_[1] | 0x20);
      const std::string_view of = base == 'x' ? "0123456789abcdefABCDEF" : base == 'o' ? "01234567" : base == 'b' ? "01" : "";
      const std::size_t end = of.empty() ? 0 : digits(2, of);
      if (end > 2) return add(Kind::integer, std::string(skip(end)));
    }
    std::size_t end = digits(0, kDecimal);
    bool whole = true;
    const auto more = [&](std::size_t from) {
      const std::size_t to = digits(from, kDecimal);
      if (to == from) return false;
      end = to;
      whole = false;
      return true;
    };
    const bool after_dot = !tokens_.empty() && tokens_.back().kind == Kind::sign && tokens_.back().text == ".";
    if (!after_dot) {
      if (end < rest_.size() && rest_[end] == '.') more(end + 1);
      if (end < rest_.size() && (rest_[end] | 0x20) == 'e') {
        const bool sign = end + 1 < rest_.size() && (rest_[end + 1] == '+' || rest_[end + 1] == '-');
        more(end + (sign ? 2 : 1));
      }
    }
    add(whole ? Kind::integer : Kind::number, std::string(skip(end)));
  }

  std::string source_;
  std::string_view rest_;
  std::vector<Token> tokens_;
  int line_ = 1;
  bool after_newline_ = true;
};

}  // namespace

void refuse(int line, const std::string& found, const std::string& wanted) {
  throw Error(ErrorKind::bad_file, "[chat template] line " + std::to_string(line) + ": found " + found + ", wanted " + wanted);
}

std::vector<Token> read_tokens(std::string_view source) { return Lexer(source).read(); }

}  // namespace qjl::engine::jinja
