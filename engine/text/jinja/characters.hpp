// Code points of UTF-8, and what Python's str says of them. A byte that begins no character counts as one of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace qjl::engine::jinja {

inline constexpr char32_t kNoCharacter = 0xFFFFFFFF;  // a byte that is not UTF-8

struct Character {
  char32_t code;
  std::size_t bytes;
};

// The first and the last character of a text that is not empty.
Character first_character(std::string_view text);
Character last_character(std::string_view text);

std::size_t count_characters(std::string_view text);
// The byte at which character `index` starts; the text's size where it has no more.
std::size_t byte_of_character(std::string_view text, std::size_t index);
void append_character(std::string& out, char32_t code);

bool is_space(char32_t code);  // str.isspace(), and \s of Python's regular expressions
bool is_letter(char32_t code);
bool is_decimal(char32_t code);
bool is_digit(char32_t code);  // also superscripts and their like
bool is_numeric(char32_t code);
bool is_upper(char32_t code);
bool is_lower(char32_t code);
bool is_title(char32_t code);
bool is_printable(char32_t code);

// By simple mappings; of the letters that become several (as the German sharp s), those of the sharp s alone.
std::string to_upper(char32_t code);
std::string to_lower(char32_t code);
std::string to_title(char32_t code);

std::string_view trim_start(std::string_view text);
std::string_view trim_end(std::string_view text);

}  // namespace qjl::engine::jinja
