// Properties from utf8proc's tables of Unicode.
#include "characters.hpp"

#include <utf8proc.h>

#include <array>

#include "utf8.hpp"

namespace qjl::engine::jinja {
namespace {

utf8proc_category_t category(char32_t code) {
  return code == kNoCharacter ? UTF8PROC_CATEGORY_CN : utf8proc_category(static_cast<utf8proc_int32_t>(code));
}

std::string mapped(char32_t code, utf8proc_int32_t (*map)(utf8proc_int32_t)) {
  std::string out;
  append_character(out, static_cast<char32_t>(map(static_cast<utf8proc_int32_t>(code))));
  return out;
}

constexpr char32_t kSharpS = 0xDF;

}  // namespace

Character first_character(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {lead, 1};
  const Utf8Step step = utf8_step(text.substr(0, 4));
  if (step.kind != Utf8Kind::character) return {kNoCharacter, 1};
  utf8proc_int32_t code = 0;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(step.bytes), &code);
  return {static_cast<char32_t>(code), step.bytes};
}

Character last_character(std::string_view text) {
  for (std::size_t bytes = 1; bytes <= 4 && bytes <= text.size(); ++bytes) {
    const std::string_view end = text.substr(text.size() - bytes);
    if ((static_cast<unsigned char>(end[0]) & 0xC0) == 0x80) continue;  // the middle of a character
    const Character found = first_character(end);
    if (found.bytes == bytes) return found;
    break;
  }
  return {kNoCharacter, 1};
}

std::size_t count_characters(std::string_view text) {
  std::size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(first_character(text).bytes);
  return count;
}

std::size_t byte_of_character(std::string_view text, std::size_t index) {
  std::size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += first_character(text.substr(at)).bytes;
  return at;
}

void append_character(std::string& out, char32_t code) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto count = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes.data());
  out.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(count));
}

bool is_space(char32_t code) {
  if (code < 0x80) return (code >= 9 && code <= 13) || (code >= 28 && code <= 32);
  return code == 0x85 || code == 0x2028 || code == 0x2029 || category(code) == UTF8PROC_CATEGORY_ZS;
}

bool is_letter(char32_t code) {
  const auto found = category(code);
  return found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t code) { return category(code) == UTF8PROC_CATEGORY_ND; }

bool is_digit(char32_t code) {
  return is_decimal(code) || code == 0xB2 || code == 0xB3 || code == 0xB9 || code == 0x2070 || (code >= 0x2074 && code <= 0x2079) ||
         (code >= 0x2080 && code <= 0x2089) || (code >= 0x2460 && code <= 0x2468);
}

bool is_numeric(char32_t code) {
  const auto found = category(code);
  return is_digit(code) || found == UTF8PROC_CATEGORY_NL || found == UTF8PROC_CATEGORY_NO;
}

bool is_upper(char32_t code) { return category(code) == UTF8PROC_CATEGORY_LU; }
bool is_lower(char32_t code) { return category(code) == UTF8PROC_CATEGORY_LL || code == 0xAA || code == 0xBA; }
bool is_title(char32_t code) { return category(code) == UTF8PROC_CATEGORY_LT; }

bool is_printable(char32_t code) {
  if (code < 0x80) return code >= 32 && code < 127;
  const auto found = category(code);  // others (Cc, Cf, Cs, Co, Cn) and separators do not print
  return found >= UTF8PROC_CATEGORY_LU && found <= UTF8PROC_CATEGORY_SO;
}

std::string to_upper(char32_t code) { return code == kSharpS ? "SS" : mapped(code, utf8proc_toupper); }
std::string to_lower(char32_t code) { return mapped(code, utf8proc_tolower); }
std::string to_title(char32_t code) { return code == kSharpS ? "Ss" : mapped(code, utf8proc_totitle); }

std::string_view trim_start(std::string_view text) {
  while (!text.empty()) {
    const Character character = first_character(text);
    if (!is_space(character.code)) break;
    text.remove_prefix(character.bytes);
  }
  return text;
}

std::string_view trim_end(std::string_view text) {
  while (!text.empty()) {
    const Character character = last_character(text);
    if (!is_space(character.code)) break;
    text.remove_suffix(character.bytes);
  }
  return text;
}

}  // namespace qjl::engine::jinja
