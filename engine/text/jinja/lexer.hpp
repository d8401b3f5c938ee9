// A template's source to tokens, with the white space rules of the environment that chat templates are written for
// (trim_blocks, lstrip_blocks, a last newline dropped). Source: jinja2 3.1, its Lexer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qjl::engine::jinja {

struct Token {
  enum class Kind : std::uint8_t {
    data,
    block_begin,
    block_end,
    variable_begin,
    variable_end,
    name,
    string,
    integer,
    number,
    sign,
    end
  };
  Kind kind;
  std::string text;  // of a string its value, of a sign its characters
  int line;
};

// Ends with a token `end`. Cost: linear. Errors: bad_file with the line.
std::vector<Token> read_tokens(std::string_view source);

// An error of the template itself: "[chat template] line 3: found X, wanted Y".
[[noreturn]] void refuse(int line, const std::string& found, const std::string& wanted);

}  // namespace qjl::engine::jinja
