// A text that knows where its bytes come from: written by the template, or given to it (a message, a tool, an argument).
//
// Every operation of the interpreter keeps the origins, so that the tokenizer can parse special tokens in markup alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qjl::engine::jinja {

enum class Origin : std::uint8_t {
  markup,  // the template's own text
  words,   // given to the template
};

class OriginText {
 public:
  struct Stretch {
    std::size_t end;  // in bytes; it begins where the one before ends
    Origin origin;
  };

  OriginText() = default;
  OriginText(std::string_view bytes, Origin origin) { append(bytes, origin); }

  const std::string& bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  const std::vector<Stretch>& stretches() const { return stretches_; }
  Origin origin_at(std::size_t byte) const;  // of a byte of the text
  bool has_words() const;

  void append(std::string_view bytes, Origin origin);
  void append(const OriginText& text);
  void append(const OriginText& text, std::size_t begin, std::size_t end);  // bytes [begin, end) of it
  OriginText slice(std::size_t begin, std::size_t end) const;

 private:
  std::size_t stretch_at(std::size_t byte) const;
  std::string bytes_;
  std::vector<Stretch> stretches_;  // neighbours differ in origin; none in an empty text
};

}  // namespace qjl::engine::jinja
