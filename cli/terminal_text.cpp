// C1 characters are two bytes in UTF-8, C2 80 to C2 9F; alone such a byte is one of them to a terminal of another encoding.
#include "terminal_text.hpp"

#include <fmt/format.h>

#include "utf8.hpp"

namespace qjl::cli {
namespace {

bool is_control(unsigned char byte) { return byte < 0x20 || byte == 0x7f; }

std::string escaped(std::string_view text, std::string_view kept) {
  std::string out;
  while (!text.empty()) {
    const engine::Utf8Step step = engine::utf8_step(text);
    const std::string_view character = text.substr(0, step.bytes);
    const auto first = static_cast<unsigned char>(character.front());
    const bool is_c1 = character.size() == 2 && first == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0;
    const bool is_text = step.kind == engine::Utf8Kind::character && !is_control(first) && !is_c1;
    if (is_text || kept.find(character.front()) != std::string_view::npos) {
      out += character;
    } else {
      for (const char byte : character) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    }
    text.remove_prefix(character.size());
  }
  return out;
}

}  // namespace

std::string one_line(std::string_view text) { return escaped(text, ""); }

std::string shown_text(std::string_view text) { return escaped(text, "\n\t"); }

}  // namespace qjl::cli
