// Table 3-7: the lead byte gives the length and the range of the second byte; all others are 80..BF.
#include "utf8.hpp"

#include <algorithm>
#include <iterator>

namespace qjl::engine {
namespace {

struct Lead {
  std::size_t bytes;  // 0: no character starts so
  unsigned char low, high;
};

constexpr Lead lead_of(unsigned char byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};  // a continuation, or an overlong form
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};  // no surrogates
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};  // up to U+10FFFF
  return {0, 0, 0};
}

// White_Space of Unicode 15: all of it has at most three bytes.
constexpr std::string_view kWhiteSpace[] = {
    "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81", "\xE2\x80\x82", "\xE2\x80\x83",
    "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86", "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A",
    "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80",
};

bool is_white_space(std::string_view character) {
  if (character.size() == 1) return character[0] == ' ' || (character[0] >= '\t' && character[0] <= '\r');
  return std::find(std::begin(kWhiteSpace), std::end(kWhiteSpace), character) != std::end(kWhiteSpace);
}

}  // namespace

Utf8Step utf8_step(std::string_view text) {
  const Lead lead = lead_of(static_cast<unsigned char>(text[0]));
  if (lead.bytes == 0) return {1, Utf8Kind::invalid};
  for (std::size_t i = 1; i < lead.bytes; ++i) {
    if (i == text.size()) return {i, Utf8Kind::incomplete};
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool fits = i == 1 ? byte >= lead.low && byte <= lead.high : (byte & 0xC0) == 0x80;
    if (!fits) return {i, Utf8Kind::invalid};
  }
  return {lead.bytes, Utf8Kind::character};
}

std::size_t utf8_valid_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const Utf8Step step = utf8_step(text.substr(at));
    if (step.kind != Utf8Kind::character) break;
    at += step.bytes;
  }
  return at;
}

std::string utf8_encode_small(std::uint32_t code_point) {
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  return {static_cast<char>(0xC0 | (code_point >> 6)), static_cast<char>(0x80 | (code_point & 0x3F))};
}

std::size_t white_space_at_start(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t bytes = utf8_step(text.substr(at)).bytes;
    if (!is_white_space(text.substr(at, bytes))) break;
    at += bytes;
  }
  return at;
}

std::size_t white_space_at_end(std::string_view text) {
  const std::size_t size = text.size();
  for (;;) {
    std::size_t bytes = 1;
    while (bytes < 3 && bytes < text.size() && (static_cast<unsigned char>(text[text.size() - bytes]) & 0xC0) == 0x80) ++bytes;
    if (text.empty() || !is_white_space(text.substr(text.size() - bytes))) return size - text.size();
    text.remove_suffix(bytes);
  }
}

}  // namespace qjl::engine
