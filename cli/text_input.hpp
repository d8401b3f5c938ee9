// Text of people and their editors, as a model should see it.
#pragma once

#include <string>

namespace qjl::cli {

// Without the mark of byte order that some editors put in front of UTF-8.
void drop_byte_order_mark(std::string& text);

// Without the last new line: an editor's, not the writer's. One of a text of several that end it.
void drop_last_new_line(std::string& text);

// The next line of standard input, without its end (a new line, or CR and LF). False at the end of input or after a Ctrl-C.
bool read_line(std::string& line);

// The text with \n, \t, \r, \\, \", \' and \xNN read as in C; what is no escape stays.
std::string unescaped(const std::string& text);

}  // namespace qjl::cli
