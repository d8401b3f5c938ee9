// Messages that a person types or pastes into the terminal of standard input.
//
// A terminal that gathers lines itself holds 4095 bytes of one and loses the rest, so while a message is awaited it gives every
// character at once, and the keys that it would have answered are answered here: its own keys of erasing (a character, a word, the
// line) and of the end of input.
#pragma once

#include <termios.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "tokenizer.hpp"

namespace qjl::cli {

class TerminalLines {
 public:
  TerminalLines();
  ~TerminalLines();
  TerminalLines(const TerminalLines&) = delete;
  TerminalLines& operator=(const TerminalLines&) = delete;

  // The next message: a line, or all lines of a paste, which follow each other faster than a person's. False at the end of input or
  // after a Ctrl-C. Of any length but for what comes while no message is awaited; from the mark on, which goes to standard error, one
  // is.
  bool read(std::string_view mark, std::string& message);

 private:
  enum class Key { none, line_end, input_end };
  Key take(char byte, std::string& message);
  void erase(std::string& message, std::size_t size);
  bool fill();
  void echo(const std::string& text) const;

  termios usual_{};
  int screen_ = -1;      // the same terminal, for writing
  std::string arrived_;  // from the terminal; taken up to next_
  std::size_t next_ = 0;
  engine::Utf8Stream characters_;
};

}  // namespace qjl::cli
