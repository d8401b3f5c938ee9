// Quotes are single ones unless the text has those and no double ones.
#include "printer.hpp"

#include <array>
#include <charconv>
#include <cmath>

#include "characters.hpp"

namespace qjl::engine::jinja {

using Kind = Value::Kind;

std::string print_number(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  std::array<char, 400> digits{};
  const double size = std::abs(number);
  const bool plain = size == 0 || (size >= 1e-4 && size < 1e16);
  const auto form = plain ? std::chars_format::fixed : std::chars_format::scientific;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number, form).ptr;
  std::string text(digits.data(), end);
  if (plain && text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::string hex_escape(char32_t code) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const int count = code < 0x100 ? 2 : code < 0x10000 ? 4 : 8;
  std::string out = count == 2 ? "\\x" : count == 4 ? "\\u" : "\\U";
  for (int i = count - 1; i >= 0; --i) out += kDigits[(code >> (4 * i)) & 15];
  return out;
}

OriginText Printer::print(const Value& value) {
  if (value.is_text()) {
    run_.spend_bytes(value.as_text().size());
    return value.as_text();
  }
  if (value.is_undefined()) return {};
  return represent(value);
}

OriginText Printer::represent(const Value& value) {
  OriginText out;
  represent(value, out);
  return out;
}

void Printer::represent(const Value& value, OriginText& out) {
  run_.spend(1);
  const auto write = [&out](std::string_view text) { out.append(text, Origin::markup); };
  switch (value.kind()) {
    case Kind::undefined: return write("Undefined");
    case Kind::none: return write("None");
    case Kind::boolean: return write(value.as_bool() ? "True" : "False");
    case Kind::integer: return write(std::to_string(value.as_integer()));
    case Kind::number: return write(print_number(value.as_number()));
    case Kind::text: return represent_text(value.as_text(), out);
    case Kind::view:
      if (value.type_name() == "range") break;
      return represent_list(value, out);
    case Kind::list:
    case Kind::tuple: return represent_list(value, out);
    case Kind::dict: return represent_dict(value.as_dict(), out);
    case Kind::generator:
    case Kind::object: break;
  }
  throw Fault("found a " + value.type_name() + " to print, wanted a text, a number, a list or a dict");
}

void Printer::represent_text(const OriginText& text, OriginText& out) {
  const std::string_view all = text.bytes();
  run_.spend_bytes(all.size());
  const bool doubles = all.find('\'') != std::string_view::npos && all.find('"') == std::string_view::npos;
  const std::string quote = doubles ? "\"" : "'";
  out.append(quote, Origin::markup);
  for (std::size_t at = 0; at < all.size();) {
    const Character character = first_character(all.substr(at));
    const Origin origin = text.origin_at(at);
    const std::string_view bytes = all.substr(at, character.bytes);
    if (bytes == quote || bytes == "\\") {
      out.append("\\", origin);
      out.append(bytes, origin);
    } else if (bytes == "\n" || bytes == "\r" || bytes == "\t") {
      out.append(bytes == "\n" ? "\\n" : bytes == "\r" ? "\\r" : "\\t", origin);
    } else if (character.code == kNoCharacter || is_printable(character.code)) {
      out.append(bytes, origin);
    } else {
      out.append(hex_escape(character.code), origin);
    }
    at += character.bytes;
  }
  out.append(quote, Origin::markup);
}

void Printer::represent_list(const Value& value, OriginText& out) {
  const List& list = value.as_list();
  const std::string label = list.label;
  const bool tuple = value.is(Kind::tuple), view = value.is(Kind::view);
  out.append(tuple ? "(" : view ? label + "([" : "[", Origin::markup);
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out.append(", ", Origin::markup);
    represent(list.items[i], out);
  }
  const bool single = tuple && list.items.size() == 1;
  out.append(single ? ",)" : tuple ? ")" : view ? "])" : "]", Origin::markup);
}

void Printer::represent_dict(const Dict& dict, OriginText& out) {
  out.append("{", Origin::markup);
  for (std::size_t i = 0; i < dict.items.size(); ++i) {
    if (i > 0) out.append(", ", Origin::markup);
    represent(dict.items[i].first, out);
    out.append(": ", Origin::markup);
    represent(dict.items[i].second, out);
  }
  out.append("}", Origin::markup);
}

}  // namespace qjl::engine::jinja
