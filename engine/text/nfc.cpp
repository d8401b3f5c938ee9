// Normal form C by utf8proc (Debian's libutf8proc, 0.3 MB; ICU has 30), a stretch at a time.
//
// utf8proc orders combining marks by exchanging neighbours, which is quadratic in a run of them; stretches of bounded length make
// the whole linear. A stretch ends before a character that neither is a mark nor joins the one before it (a Hangul vowel or final).
#include "nfc.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "qjl/error.hpp"
#include "utf8.hpp"

namespace qjl::engine {
namespace {

constexpr std::size_t kShortestStretch = 1024;
constexpr std::size_t kLongestStretch = 2048;

struct Free {
  void operator()(utf8proc_uint8_t* text) const { std::free(text); }
};

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

bool starts_anew(std::string_view text) {
  utf8proc_int32_t point = 0;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()), &point);
  const utf8proc_category_t category = utf8proc_category(point);
  const bool mark = category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_ME;
  const bool hangul_tail = point >= 0x1160 && point <= 0x11FF;
  return !mark && !hangul_tail;
}

std::size_t stretch_bytes(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size() && at < kLongestStretch) {
    if (at >= kShortestStretch && starts_anew(text.substr(at))) break;
    at += utf8_step(text.substr(at)).bytes;
  }
  return at;
}

void append_nfc(std::string_view text, std::string& out) {
  utf8proc_uint8_t* made = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()), &made,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, Free> owner(made);
  if (size < 0)
    throw Error(ErrorKind::unsupported, std::string("[tokenizer] found '") + utf8proc_errmsg(size) + "', wanted normal form C");
  out.append(reinterpret_cast<const char*>(made), static_cast<std::size_t>(size));
}

}  // namespace

std::string to_nfc(std::string_view text) {
  if (is_ascii(text)) return std::string(text);
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t bytes = stretch_bytes(text);
    append_nfc(text.substr(0, bytes), out);
    text.remove_prefix(bytes);
  }
  return out;
}

}  // namespace qjl::engine
