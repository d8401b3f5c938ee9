// The punctuation is markup; what stands inside of quotes keeps the origin it has.
#include "json_writer.hpp"

#include <algorithm>
#include <cmath>

#include "characters.hpp"
#include "printer.hpp"

namespace qjl::engine::jinja {
namespace {

using Kind = Value::Kind;

class JsonWriter {
 public:
  JsonWriter(Interpreter& run, const JsonForm& form) : run_(run), form_(form) {}

  void write(const Value& value, int level) {
    run_.spend(1);
    switch (value.kind()) {
      case Kind::none: return put("null");
      case Kind::boolean: return put(value.as_bool() ? "true" : "false");
      case Kind::integer: return put(std::to_string(value.as_integer()));
      case Kind::number: return put(number(value.as_number()));
      case Kind::text: return quoted(value.as_text());
      case Kind::list:
      case Kind::tuple: return list(value.as_list().items, level);
      case Kind::dict: return dict(value.as_dict(), level);
      case Kind::undefined:
      case Kind::view:
      case Kind::generator:
      case Kind::object: break;
    }
    throw Fault("`tojson` found a value of type " + value.type_name() + ", wanted one that JSON has");
  }

  OriginText take() { return std::move(out_); }

 private:
  void put(std::string_view text) { out_.append(text, Origin::markup); }

  void put_given(const OriginText& text) {
    run_.spend_bytes(text.size());
    out_.append(text);
  }

  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return print_number(value);
  }

  void line(int level) {
    if (!form_.indent) return;
    put("\n");
    for (int i = 0; i < level; ++i) put_given(*form_.indent);
  }

  void list(const std::vector<Value>& items, int level) {
    if (items.empty()) return put("[]");
    put("[");
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) put_given(form_.item_separator);
      line(level + 1);
      write(items[i], level + 1);
    }
    line(level);
    put("]");
  }

  OriginText key(const Value& value) const {
    if (value.is_text()) return value.as_text();
    const std::string word = value.is(Kind::none)      ? "null"
                             : value.is(Kind::boolean) ? (value.as_bool() ? "true" : "false")
                             : value.is(Kind::integer) ? std::to_string(value.as_integer())
                             : value.is(Kind::number)  ? number(value.as_number())
                                                       : "";
    if (word.empty()) throw Fault("`tojson` found a key of type " + value.type_name() + ", wanted a str, a number or none");
    return {word, Origin::markup};
  }

  void dict(const Dict& dict, int level) {
    if (dict.items.empty()) return put("{}");
    std::vector<const std::pair<Value, Value>*> rows;
    for (const auto& row : dict.items) rows.push_back(&row);
    if (form_.sorted) {
      std::stable_sort(rows.begin(), rows.end(), [&](const auto* a, const auto* b) { return run_.before(a->first, b->first); });
    }
    put("{");
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (i > 0) put_given(form_.item_separator);
      line(level + 1);
      quoted(key(rows[i]->first));
      put_given(form_.key_separator);
      write(rows[i]->second, level + 1);
    }
    line(level);
    put("}");
  }

  std::string escaped(char32_t code) const {
    switch (code) {
      case '"': return "\\\"";
      case '\\': return "\\\\";
      case '\n': return "\\n";
      case '\r': return "\\r";
      case '\t': return "\\t";
      case '\f': return "\\f";
      case '\b': return "\\b";
    }
    const auto unit = [](char32_t half) { return "\\u" + hex_escape(0x10000 | half).substr(6); };
    if (code < 0x20 || (form_.ascii && code >= 0x7F && code < 0x10000)) return unit(code);
    if (!form_.ascii || code < 0x80 || code == kNoCharacter) return {};
    return unit(0xD800 + ((code - 0x10000) >> 10)) + unit(0xDC00 + ((code - 0x10000) & 0x3FF));
  }

  void quoted(const OriginText& text) {
    run_.spend_bytes(text.size());
    const std::string_view all = text.bytes();
    put("\"");
    std::size_t copied = 0, at = 0;
    while (at < all.size()) {
      const Character character = first_character(all.substr(at));
      if (const std::string escape = escaped(character.code); !escape.empty()) {
        run_.spend(1);  // an escape is longer than its character
        out_.append(text, copied, at);
        out_.append(escape, text.origin_at(at));
        copied = at + character.bytes;
      }
      at += character.bytes;
    }
    out_.append(text, copied, all.size());
    put("\"");
  }

  Interpreter& run_;
  const JsonForm& form_;
  OriginText out_;
};

}  // namespace

OriginText write_json(Interpreter& run, const Value& value, const JsonForm& form) {
  JsonWriter writer(run, form);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace qjl::engine::jinja
