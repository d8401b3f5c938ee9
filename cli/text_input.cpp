// Lines and texts as they come from terminals, pipes and files.
#include "text_input.hpp"

#include <charconv>
#include <iostream>
#include <string_view>

namespace qjl::cli {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kEscapes = "ntr\\\"'";
constexpr std::string_view kMeanings = "\n\t\r\\\"'";

// The byte that the two digits at `from` name; -1 when they are none.
int hex_byte(std::string_view text, std::size_t from) {
  if (from + 2 > text.size()) return -1;
  unsigned byte = 0;
  const char* const end = text.data() + from + 2;
  const auto [stop, error] = std::from_chars(text.data() + from, end, byte, 16);
  return error == std::errc() && stop == end ? static_cast<int>(byte) : -1;
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
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t named = text[i] == '\\' && i + 1 < text.size() ? kEscapes.find(text[i + 1]) : std::string_view::npos;
    const int byte = text[i] == '\\' && i + 1 < text.size() && text[i + 1] == 'x' ? hex_byte(text, i + 2) : -1;
    if (named != std::string_view::npos) {
      out += kMeanings[named];
      i += 1;
    } else if (byte >= 0) {
      out += static_cast<char>(byte);
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace qjl::cli
