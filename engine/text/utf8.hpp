// Steps through text that may not be UTF-8 (Unicode 15, table 3-7).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace qjl::engine {

// What the first bytes of a text are: a character; bytes that no character starts with (1 to 3, the longest beginning of a
// character, as U+FFFD replaces them); or the beginning of a character that the end of the text cuts.
enum class Utf8Kind : std::uint8_t { character, invalid, incomplete };
struct Utf8Step {
  std::size_t bytes;
  Utf8Kind kind;
};

// The first step of a text that is not empty. Cost: at most 4 bytes read.
Utf8Step utf8_step(std::string_view text);

// Bytes of the longest beginning of a text that is valid UTF-8.
std::size_t utf8_valid_prefix(std::string_view text);

// The bytes of one code point below 0x800: enough for the byte-level alphabet.
std::string utf8_encode_small(std::uint32_t code_point);

// Bytes of the white space (Unicode's White_Space) at the start or the end of a text.
std::size_t white_space_at_start(std::string_view text);
std::size_t white_space_at_end(std::string_view text);

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace qjl::engine
