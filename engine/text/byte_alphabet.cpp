// Both directions from one table of 256 characters; all are below U+0144, so two bytes of UTF-8 at most.
#include "byte_alphabet.hpp"

#include <array>
#include <cstdint>

#include "utf8.hpp"

namespace qjl::engine {
namespace {

constexpr std::uint32_t kFirstOther = 0x100;
constexpr std::size_t kCodePoints = 0x144;

constexpr bool stands_for_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int, kCodePoints> bytes;  // -1: not of the alphabet
  Alphabet() {
    bytes.fill(-1);
    std::uint32_t other = kFirstOther;
    for (int byte = 0; byte < 256; ++byte) {
      const std::uint32_t code_point = stands_for_itself(byte) ? static_cast<std::uint32_t>(byte) : other++;
      characters[static_cast<std::size_t>(byte)] = utf8_encode_small(code_point);
      bytes[code_point] = byte;
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet table;
  return table;
}

}  // namespace

std::string_view alphabet_character(unsigned char byte) { return alphabet().characters[byte]; }

std::string to_alphabet(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char byte : bytes) out += alphabet_character(static_cast<unsigned char>(byte));
  return out;
}

std::string from_alphabet(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = utf8_step(text.substr(at));
    if (step.kind != Utf8Kind::character || step.bytes > 2) return std::string(text);
    const auto first = static_cast<unsigned char>(text[at]);
    const std::size_t code_point =
        step.bytes == 1 ? first : static_cast<std::size_t>(first & 0x1F) << 6 | (static_cast<unsigned char>(text[at + 1]) & 0x3F);
    if (code_point >= kCodePoints || alphabet().bytes[code_point] < 0) return std::string(text);
    out += static_cast<char>(alphabet().bytes[code_point]);
    at += step.bytes;
  }
  return out;
}

}  // namespace qjl::engine
