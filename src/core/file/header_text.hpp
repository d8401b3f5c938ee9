// The text of a safetensors header, read and written: the little JSON that it is. No value but strings, whole numbers, lists of
// numbers and objects of these ever stands there, so a cursor over the text does what a JSON library would.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fail.hpp"

namespace qjl {

// What a file is not: found and wanted. The door that opened it adds the file's name.
template <typename... Parts>
[[noreturn]] void refuse_file(const Parts&... parts) {
  fail(ErrorKind::bad_file, "load_cache", parts...);
}

// Errors of all: bad_file with the place in the header.
class HeaderCursor {
 public:
  explicit HeaderCursor(std::string_view text) : text_(text) {}

  void expect(char wanted);
  bool accept(char wanted);  // past it when it comes next
  std::string string();
  std::int64_t whole_number();  // 0 or more
  std::vector<std::int64_t> whole_numbers();
  void expect_end();  // nothing but spaces is left

  // Calls member(name) for each member of an object; member reads the value.
  template <typename Member>
  void object(const Member& member) {
    expect('{');
    if (accept('}')) return;
    do {
      const std::string name = string();
      expect(':');
      member(name);
    } while (accept(','));
    expect('}');
  }

 private:
  char next();  // the next one that is no space, '\0' at the end; stays there
  [[noreturn]] void refuse(std::string_view wanted) const;
  void escape(std::string& out);
  std::uint32_t four_digits();

  std::string_view text_;
  std::size_t at_ = 0;
};

// A string with its quotes. Bytes that are not ASCII stay as they are: the text is UTF-8.
std::string quoted(std::string_view text);

}  // namespace qjl
