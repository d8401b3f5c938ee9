// \n and its like, \ooo, \xhh, \uhhhh, \Uhhhhhhhh; a backslash before a newline takes both away.
#include "string_literal.hpp"

#include <charconv>

#include "characters.hpp"
#include "lexer.hpp"
#include "printable.hpp"

namespace qjl::engine::jinja {
namespace {

constexpr std::string_view kLetters = "abfnrtv\\'\"\n";
constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"";  // none for the newline

std::size_t count_digits(std::string_view text, std::string_view of, std::size_t most) {
  const std::size_t end = text.substr(0, most).find_first_not_of(of);
  return end == std::string_view::npos ? std::min(most, text.size()) : end;
}

void append_code(std::string& out, std::string_view digits, int base, std::string_view literal, int line) {
  std::uint32_t code = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), code, base);
  if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
    refuse(line, "the escape " + printable(literal), "a character of Unicode");
  append_character(out, code);
}

}  // namespace

std::string string_value(std::string_view literal, int line) {
  std::string out;
  for (std::size_t at = literal.find('\\'); at != std::string_view::npos; at = literal.find('\\')) {
    out.append(literal.substr(0, at));
    literal.remove_prefix(at + 1);
    const char letter = literal[0];  // the lexer has seen that one follows
    const std::string_view digits = literal.substr(1);
    if (const std::size_t known = kLetters.find(letter); known != std::string_view::npos) {
      out.append(kMeanings.substr(known, 1));
      literal.remove_prefix(1);
    } else if (letter == 'x' || letter == 'u' || letter == 'U') {
      const std::size_t wanted = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
      const std::size_t found = count_digits(digits, "0123456789abcdefABCDEF", wanted);
      if (found < wanted) refuse(line, printable(literal.substr(0, found + 1)), std::to_string(wanted) + " digits in base 16");
      append_code(out, digits.substr(0, wanted), 16, literal.substr(0, wanted + 1), line);
      literal.remove_prefix(wanted + 1);
    } else if (const std::size_t octal = count_digits(literal, "01234567", 3); octal > 0) {
      append_code(out, literal.substr(0, octal), 8, literal.substr(0, octal), line);
      literal.remove_prefix(octal);
    } else if (letter == 'N') {
      refuse(line, "a character by its name", "its number: \\u and four digits");
    } else {
      out += '\\';
    }
  }
  return out.append(literal);
}

}  // namespace qjl::engine::jinja
