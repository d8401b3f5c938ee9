// Filters that make a text. As jinja2's, most take any value and print it first.
#include <algorithm>
#include <array>

#include "call.hpp"
#include "json_writer.hpp"
#include "percent_format.hpp"
#include "text_operations.hpp"

namespace qjl::engine::jinja {
namespace {

using Kind = Value::Kind;

OriginText self_of(Call& call) {
  OriginText text = call.run.print(call.self);
  call.run.spend_bytes(text.size());
  return text;
}

Value string(Call& call) { return Value::text(self_of(call)); }
Value upper(Call& call) { return Value::text(uppered(self_of(call))); }
Value lower(Call& call) { return Value::text(lowered(self_of(call))); }
Value capitalize(Call& call) { return Value::text(capitalized(self_of(call))); }

// A word begins at the start and behind white space and -({[<.
Value title(Call& call) {
  bool starts = true;
  return Value::text(mapped(self_of(call), [&starts](char32_t code, bool) {
    const bool between = is_space(code) || code == '-' || code == '(' || code == '{' || code == '[' || code == '<';
    return std::exchange(starts, between) ? to_upper(code) : to_lower(code);
  }));
}

Value trim(Call& call) {
  const bool chosen = call.has(0) && !call.at(0).is(Kind::none);
  return Value::text(stripped(call.run, self_of(call), Side::both, chosen ? &call.text(0).bytes() : nullptr));
}

Value replace(Call& call) {
  const OriginText text = self_of(call), old = call.run.print(call.at(0)), by = call.run.print(call.at(1));
  const bool all = !call.has(2) || call.at(2).is(Kind::none);
  if (by.size() > old.size()) call.run.spend_bytes((text.size() / std::max<std::size_t>(old.size(), 1) + 1) * by.size());
  return Value::text(replaced(text, old.bytes(), by, all ? -1 : std::max<std::int64_t>(call.integer(2), -1)));
}

Value indent(Call& call) {
  if (call.self.is_undefined()) throw Fault(call.self.why_undefined());
  if (!call.self.is_text()) call.fail("a " + call.self.type_name(), "a str");
  OriginText space;
  if (call.has(0) && call.at(0).is_text()) {
    space = call.text(0);
  } else {
    const std::int64_t width = call.integer(0, 4);
    call.run.spend_bytes(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)));
    space = {std::string(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' '), Origin::markup};
  }
  OriginText text = self_of(call);
  text.append("\n", Origin::markup);  // so that the last line is one too
  OriginText out;
  if (call.flag(1, false)) out.append(space);
  const auto lines = split_lines(call.run, text, LineEnds::drop);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    call.run.spend_bytes(lines[i].size() + space.size());
    if (i > 0) out.append("\n", Origin::markup);
    if (i > 0 && (call.flag(2, false) || !lines[i].empty())) out.append(space);
    out.append(lines[i]);
  }
  return Value::text(std::move(out));
}

Value center(Call& call) {
  const OriginText text = self_of(call);
  const std::int64_t width = std::max<std::int64_t>(call.integer(0, 80), 0);
  const auto found = static_cast<std::int64_t>(count_characters(text.bytes()));
  const auto missing = static_cast<std::size_t>(std::max<std::int64_t>(width - found, 0));
  call.run.spend(missing);
  const std::size_t before = missing / 2 + (missing & static_cast<std::size_t>(width) & 1);
  return Value::text(padded(text, before, missing - before, {" ", Origin::markup}));
}

Value force_escape(Call& call) {
  const OriginText text = self_of(call);
  call.run.spend_bytes(5 * text.size());
  return Value::text(escaped(text)).marked_safe();
}

Value escape(Call& call) { return call.self.is_safe() ? call.self : force_escape(call); }
Value safe(Call& call) { return Value::text(self_of(call)).marked_safe(); }

Value format(Call& call) {
  Value values = Value::tuple(call.rest);
  if (!call.named.empty()) {
    Dict dict;
    for (const auto& [name, value] : call.named) {
      call.run.spend(name.extent().weight);
      dict.set(name, value);
    }
    values = Value::dict(std::move(dict));
  }
  return percent_format(call.run, self_of(call), values);
}

Value wordcount(Call& call) {
  const OriginText text = self_of(call);
  std::string_view rest = text.bytes();
  std::int64_t words = 0;
  bool inside = false;
  for (; !rest.empty(); rest.remove_prefix(first_character(rest).bytes)) {
    const char32_t code = first_character(rest).code;
    const bool word = code == '_' || is_letter(code) || is_numeric(code);
    words += word && !inside ? 1 : 0;
    inside = word;
  }
  return Value::integer(words);
}

Value urlencode(Call& call) {
  const OriginText text = self_of(call);
  OriginText out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char byte = text.bytes()[i];
    const bool plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
                       std::string_view("_.-~/").find(byte) != std::string_view::npos;
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    const auto number = static_cast<unsigned char>(byte);
    out.append(plain ? std::string(1, byte) : std::string{'%', kDigits[number >> 4], kDigits[number & 15]}, text.origin_at(i));
  }
  return Value::text(std::move(out));
}

Value tojson(Call& call) {
  JsonForm form{.ascii = call.flag(0, false), .sorted = call.flag(3, false)};
  if (call.has(1) && !call.at(1).is(Kind::none)) {
    const std::int64_t width = call.at(1).is_text() ? 0 : std::clamp<std::int64_t>(call.integer(1), 0, 1000);
    form.indent =
        call.at(1).is_text() ? call.text(1) : OriginText(std::string(static_cast<std::size_t>(width), ' '), Origin::markup);
    form.item_separator = {",", Origin::markup};
  }
  if (call.has(2) && !call.at(2).is(Kind::none)) {
    const std::vector<Value> pair = call.run.items_of(call.at(2));
    if (pair.size() != 2 || !pair[0].is_text() || !pair[1].is_text()) call.fail("other separators", "two texts");
    form.item_separator = pair[0].as_text();
    form.key_separator = pair[1].as_text();
  }
  return Value::text(write_json(call.run, call.self, form));
}

constexpr std::array<Builtin, 17> kFilters = {{
    {"capitalize", "", capitalize},
    {"center", "width", center},
    {"e", "", escape},
    {"escape", "", escape},
    {"forceescape", "", force_escape},
    {"format", "*", format},
    {"indent", "width first blank", indent},
    {"lower", "", lower},
    {"replace", "old new count", replace},
    {"safe", "", safe},
    {"string", "", string},
    {"title", "", title},
    {"tojson", "ensure_ascii indent separators sort_keys", tojson},
    {"trim", "chars", trim},
    {"upper", "", upper},
    {"urlencode", "", urlencode},
    {"wordcount", "", wordcount},
}};

}  // namespace

std::span<const Builtin> text_filters() { return kFilters; }

}  // namespace qjl::engine::jinja
