// Lines and texts as they come from terminals, pipes and files.
#include "text_input.hpp"

#include <charconv>
#include <iostream>
#include <string_view>
#include <utility>

namespace qjl::cli {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

struct Meaning {
  char byte;
  std::size_t length;  // of the text that means it
};

// Of the escape or the plain byte at the start of a text.
Meaning first_meaning(std::string_view text) {
  constexpr std::pair<std::string_view, char> kNamed[] = {{"\\n", '\n'},  {"\\t", '\t'}, {"\\r", '\r'},
                                                          {"\\\\", '\\'}, {"\\\"", '"'}, {"\\'", '\''}};
  for (const auto& [escape, byte] : kNamed) {
    if (text.starts_with(escape)) return {byte, escape.size()};
  }
  constexpr std::string_view kHex = "\\x";
  if (text.starts_with(kHex)) {
    const std::string_view digits = text.substr(kHex.size(), 2);
    unsigned char byte{};
    const char* const stop = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16).ptr;
    if (stop - digits.data() == 2) return {static_cast<char>(byte), kHex.size() + digits.size()};
  }
  return {text.front(), 1};
}

}  // namespace

void drop_byte_order_mark(std::string& text) {
  if (text.starts_with(kByteOrderMark)) text.erase(0, kByteOrderMark.size());
}

void drop_last_new_line(std::string& text) {
  if (!text.ends_with('\n')) return;
  text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
}

bool read_line(std::string& line) {
  if (!std::getline(std::cin, line)) return false;
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

std::string unescaped(const std::string& text) {
  std::string out;
  for (std::string_view rest = text; !rest.empty();) {
    const auto [byte, length] = first_meaning(rest);
    out += byte;
    rest.remove_prefix(length);
  }
  return out;
}

}  // namespace qjl::cli
