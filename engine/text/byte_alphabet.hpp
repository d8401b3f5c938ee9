// The byte-level alphabet of GPT-2: every byte has a printable character, so that a vocabulary is plain text.
//
//   bytes 21..7E, A1..AC, AE..FF stand for the code point of the same number; the other 68, in order, for U+0100 ...
#pragma once

#include <string>
#include <string_view>

namespace qjl::engine {

// The character of a byte, 1 or 2 bytes of UTF-8.
std::string_view alphabet_character(unsigned char byte);

// Bytes to their characters.
std::string to_alphabet(std::string_view bytes);

// Characters to their bytes; a text with any other character stands for itself (an added token).
std::string from_alphabet(std::string_view text);

}  // namespace qjl::engine
