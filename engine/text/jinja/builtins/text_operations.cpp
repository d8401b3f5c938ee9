// Bytes stay where they can; a character that changes keeps the origin of its first byte.
#include "text_operations.hpp"

#include <algorithm>

#include "text_search.hpp"

namespace qjl::engine::jinja {
namespace {

// Sorted, for looking them up.
std::vector<std::string_view> characters_of(std::string_view text) {
  std::vector<std::string_view> found;
  for (; !text.empty(); text.remove_prefix(found.back().size())) found.push_back(text.substr(0, first_character(text).bytes));
  std::sort(found.begin(), found.end());
  return found;
}

bool ends_line(char32_t code) {
  return (code >= 10 && code <= 13) || (code >= 28 && code <= 30) || code == 0x85 || code == 0x2028 || code == 0x2029;
}

}  // namespace

OriginText stripped(Interpreter& run, const OriginText& text, Side side, const std::string* characters) {
  std::vector<std::string_view> chosen;
  if (characters != nullptr) {
    run.spend(characters->size() + text.size() / 4);
    chosen = characters_of(*characters);
  }
  std::string_view all = text.bytes();
  const auto drop = [&](const Character& character, std::string_view bytes) {
    return characters == nullptr ? is_space(character.code) : std::binary_search(chosen.begin(), chosen.end(), bytes);
  };
  std::size_t begin = 0, end = all.size();
  while (side != Side::right && begin < end) {
    const Character first = first_character(all.substr(begin));
    if (!drop(first, all.substr(begin, first.bytes))) break;
    begin += first.bytes;
  }
  while (side != Side::left && begin < end) {
    const Character last = last_character(all.substr(begin, end - begin));
    if (!drop(last, all.substr(end - last.bytes, last.bytes))) break;
    end -= last.bytes;
  }
  return text.slice(begin, end);
}

OriginText mapped(const OriginText& text, const std::function<std::string(char32_t, bool)>& map) {
  const std::string_view all = text.bytes();
  OriginText out;
  bool after_letter = false;
  for (std::size_t at = 0; at < all.size();) {
    const Character character = first_character(all.substr(at));
    if (character.code == kNoCharacter) {
      out.append(text, at, at + 1);
    } else {
      out.append(map(character.code, after_letter), text.origin_at(at));
    }
    after_letter = is_letter(character.code);
    at += character.bytes;
  }
  return out;
}

OriginText uppered(const OriginText& text) {
  return mapped(text, [](char32_t code, bool) { return to_upper(code); });
}

OriginText lowered(const OriginText& text) {
  return mapped(text, [](char32_t code, bool) { return to_lower(code); });
}

OriginText capitalized(const OriginText& text) {
  bool first = true;
  return mapped(text, [&first](char32_t code, bool) { return std::exchange(first, false) ? to_title(code) : to_lower(code); });
}

OriginText replaced(const OriginText& text, const std::string& old, const OriginText& by, std::int64_t count) {
  const std::string& all = text.bytes();
  OriginText out;
  std::size_t copied = 0;
  if (old.empty()) {  // between all characters, and at both ends
    for (std::size_t at = 0; count != 0; --count) {
      out.append(text, copied, at);
      out.append(by);
      copied = at;
      if (at >= all.size()) break;
      at += first_character(std::string_view(all).substr(at)).bytes;
    }
  } else {
    for (std::size_t at = find_first(all, old); at != std::string::npos && count != 0; at = find_first(all, old, copied), --count) {
      out.append(text, copied, at);
      out.append(by);
      copied = at + old.size();
    }
  }
  out.append(text, copied, all.size());
  return out;
}

OriginText escaped(const OriginText& text) {
  const std::string_view all = text.bytes();
  OriginText out;
  std::size_t copied = 0;
  for (std::size_t at = all.find_first_of("&<>'\""); at != std::string_view::npos; at = all.find_first_of("&<>'\"", at + 1)) {
    const char sign = all[at];
    out.append(text, copied, at);
    out.append(sign == '&'    ? "&amp;"
               : sign == '<'  ? "&lt;"
               : sign == '>'  ? "&gt;"
               : sign == '\'' ? "&#39;"
                              : "&#34;",
               text.origin_at(at));
    copied = at + 1;
  }
  out.append(text, copied, all.size());
  return out;
}

OriginText joined(const OriginText& between, const std::vector<OriginText>& parts) {
  OriginText out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out.append(between);
    out.append(parts[i]);
  }
  return out;
}

std::vector<OriginText> split_lines(Interpreter& run, const OriginText& text, LineEnds ends) {
  const std::string_view all = text.bytes();
  std::vector<OriginText> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < all.size();) {
    const Character character = first_character(all.substr(at));
    const std::size_t line_end = at;
    at += character.bytes;
    if (!ends_line(character.code)) continue;
    if (character.code == '\r' && at < all.size() && all[at] == '\n') ++at;
    run.spend(kPartCost);
    lines.push_back(text.slice(begin, ends == LineEnds::keep ? at : line_end));
    begin = at;
  }
  if (begin < all.size()) lines.push_back(text.slice(begin, all.size()));
  return lines;
}

OriginText padded(const OriginText& text, std::size_t before, std::size_t after, const OriginText& fill) {
  OriginText out;
  for (std::size_t i = 0; i < before; ++i) out.append(fill);
  out.append(text);
  for (std::size_t i = 0; i < after; ++i) out.append(fill);
  return out;
}

std::vector<Value> values_of(std::vector<OriginText> texts) {
  std::vector<Value> values;
  for (OriginText& text : texts) values.push_back(Value::text(std::move(text)));
  return values;
}

}  // namespace qjl::engine::jinja
