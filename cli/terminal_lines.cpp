// The line discipline of a terminal, the part of it that people use, without its bound.
#include "terminal_lines.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <iostream>

#include "interrupt.hpp"
#include "terminal_text.hpp"

namespace qjl::cli {
namespace {

constexpr int kPasteMilliseconds = 30;

bool more_is_there() {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  return poll(&input, 1, kPasteMilliseconds) == 1 && (input.revents & POLLIN) != 0;
}

// Without lines and without an echo; Ctrl-C stays a signal.
class EveryCharacter {
 public:
  explicit EveryCharacter(const termios& usual) : usual_(usual) {
    termios changed = usual;
    changed.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    changed.c_cc[VMIN] = 1;
    changed.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &changed);
  }
  ~EveryCharacter() { tcsetattr(STDIN_FILENO, TCSANOW, &usual_); }
  EveryCharacter(const EveryCharacter&) = delete;
  EveryCharacter& operator=(const EveryCharacter&) = delete;

 private:
  const termios& usual_;
};

// What a character looks like here: controls by their number, a tab as a space, so that each has a known width.
std::string shown(const std::string& text) {
  std::string spaced = text;
  std::ranges::replace(spaced, '\t', ' ');
  return one_line(spaced);
}

// Bytes of the last character and word of a line; 0 when it is empty.
std::size_t last_character(const std::string& line) {
  if (line.empty()) return 0;
  std::size_t start = line.size() - 1;
  while (start > 0 && (static_cast<unsigned char>(line[start]) & 0xC0) == 0x80) --start;
  return line.size() - start;
}

std::size_t last_word(const std::string& line) {
  const std::size_t end = line.find_last_not_of(" \t");
  const std::size_t space = line.find_last_of(" \t", end);
  return line.size() - (end == std::string::npos || space == std::string::npos ? 0 : space + 1);
}

}  // namespace

// Nobody may be reading what is echoed: the screen is never waited for.
TerminalLines::TerminalLines() {
  tcgetattr(STDIN_FILENO, &usual_);
  if (const char* name = ttyname(STDIN_FILENO); name != nullptr) screen_ = open(name, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
}

TerminalLines::~TerminalLines() {
  if (screen_ >= 0) close(screen_);
}

void TerminalLines::echo(const std::string& text) const {
  if (screen_ < 0) return;
  [[maybe_unused]] const ssize_t written = write(screen_, text.data(), text.size());
}

bool TerminalLines::fill() {
  char bytes[4096];
  ssize_t count = 0;
  do {
    count = ::read(STDIN_FILENO, bytes, sizeof(bytes));
  } while (count < 0 && errno == EINTR && !interrupted());
  if (count <= 0) return false;
  arrived_.assign(bytes, static_cast<std::size_t>(count));
  next_ = 0;
  return true;
}

// The last `size` bytes, of the last line alone.
void TerminalLines::erase(std::string& message, std::size_t size) {
  const std::string gone = message.substr(message.size() - size);
  message.resize(message.size() - size);
  const std::string seen = shown(gone);
  const auto is_start = [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; };
  for (auto columns = std::ranges::count_if(seen, is_start); columns > 0; --columns) echo("\b \b");
}

TerminalLines::Key TerminalLines::take(char byte, std::string& message) {
  const auto is_key = [&](int name) {
    return usual_.c_cc[name] != _POSIX_VDISABLE && static_cast<cc_t>(byte) == usual_.c_cc[name];
  };
  const auto line = [&] { return message.substr(message.rfind('\n') + 1); };
  // An end of input that was typed before anybody waited has become a zero.
  if (is_key(VEOF) || (byte == '\0' && message.empty())) return Key::input_end;
  if (byte == '\n') return Key::line_end;
  if (is_key(VERASE) || byte == '\b' || byte == '\x7f') {
    erase(message, last_character(line()));
  } else if (is_key(VWERASE)) {
    erase(message, last_word(line()));
  } else if (is_key(VKILL)) {
    erase(message, line().size());
  } else {
    message += byte;
    echo(shown(characters_.feed({&byte, 1})));
  }
  return Key::none;
}

bool TerminalLines::read(std::string_view mark, std::string& message) {
  const EveryCharacter mode(usual_);
  std::cerr << mark << std::flush;
  message.clear();
  for (;;) {
    if (next_ == arrived_.size() && !fill()) return !message.empty() && !interrupted();
    const Key key = take(arrived_[next_++], message);
    if (key == Key::none) continue;
    if (key == Key::input_end) return !message.empty();
    echo("\n");
    if (next_ == arrived_.size() && !more_is_there()) return true;
    message += '\n';
  }
}

}  // namespace qjl::cli
