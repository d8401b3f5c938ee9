// A cursor over the JSON of a header; strings with their escapes, both ways.
#include "header_text.hpp"

#include <algorithm>
#include <charconv>

namespace qjl {
namespace {

constexpr std::uint32_t kHighSurrogate = 0xD800, kLowSurrogate = 0xDC00, kSurrogatesEnd = 0xE000, kBeyondPlane = 0x10000;

void append_utf8(std::string& out, std::uint32_t point) {
  const auto rest = [&](int shift) { out += static_cast<char>(0x80 | (point >> shift & 0x3F)); };
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xC0 | point >> 6), rest(0);
  } else if (point < kBeyondPlane) {
    out += static_cast<char>(0xE0 | point >> 12), rest(6), rest(0);
  } else {
    out += static_cast<char>(0xF0 | point >> 18), rest(12), rest(6), rest(0);
  }
}

}  // namespace

void HeaderCursor::refuse(std::string_view wanted) const {
  const std::string found = at_ < text_.size() ? quoted(text_.substr(at_, 1)) : "its end";
  refuse_file("the header has ", found, " at byte ", at_, ", wanted ", wanted);
}

char HeaderCursor::next() {
  while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  return at_ < text_.size() ? text_[at_] : '\0';
}

bool HeaderCursor::accept(char wanted) {
  if (next() != wanted) return false;
  ++at_;
  return true;
}

void HeaderCursor::expect(char wanted) {
  if (!accept(wanted)) refuse(quoted({&wanted, 1}));
}

void HeaderCursor::expect_end() {
  next();
  if (at_ < text_.size()) refuse("nothing more");
}

std::string HeaderCursor::string() {
  expect('"');
  std::string out;
  for (;; ++at_) {
    if (at_ >= text_.size() || static_cast<unsigned char>(text_[at_]) < 0x20) refuse("the rest of a string");
    if (text_[at_] == '"') break;
    text_[at_] == '\\' ? escape(out) : static_cast<void>(out += text_[at_]);
  }
  ++at_;
  return out;
}

// From the backslash to the last character of the escape.
void HeaderCursor::escape(std::string& out) {
  constexpr std::string_view kNames = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
  ++at_;
  const char name = at_ < text_.size() ? text_[at_] : '\0';
  if (const std::size_t known = kNames.find(name); name != '\0' && known != std::string_view::npos) {
    out += kMeant[known];
    return;
  }
  if (name != 'u') refuse("an escape");
  std::uint32_t point = four_digits();
  if (point >= kHighSurrogate && point < kSurrogatesEnd) {
    const bool has_second = point < kLowSurrogate && text_.substr(at_ + 1, 2) == "\\u";
    if (!has_second) refuse("the second half of a surrogate pair");
    at_ += 2;
    const std::uint32_t low = four_digits();
    if (low < kLowSurrogate || low >= kSurrogatesEnd) refuse("the second half of a surrogate pair");
    point = kBeyondPlane + ((point - kHighSurrogate) << 10) + (low - kLowSurrogate);
  }
  append_utf8(out, point);
}

// After the u, to the last digit.
std::uint32_t HeaderCursor::four_digits() {
  constexpr std::size_t kDigits = 4;
  const std::string_view digits = text_.substr(std::min(at_ + 1, text_.size()), kDigits);
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
  if (digits.size() < kDigits || error != std::errc() || end != digits.data() + kDigits) refuse("four hexadecimal digits");
  at_ += kDigits;
  return number;
}

std::int64_t HeaderCursor::whole_number() {
  next();
  std::int64_t number = 0;
  const char* begin = text_.data() + at_;
  const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), number);
  if (error != std::errc() || number < 0 || *begin == '-') refuse("a whole number of 0 or more that fits 63 bits");
  at_ += static_cast<std::size_t>(end - begin);
  return number;
}

std::vector<std::int64_t> HeaderCursor::whole_numbers() {
  std::vector<std::int64_t> numbers;
  expect('[');
  if (accept(']')) return numbers;
  do numbers.push_back(whole_number());
  while (accept(','));
  expect(']');
  return numbers;
}

std::string quoted(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (byte < 0x20) {
      out += std::string("\\u00") + kHex[byte >> 4] + kHex[byte & 0xF];
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace qjl
