// Methods of Python's str. Places and lengths are in characters.
#include <algorithm>
#include <array>

#include "call.hpp"
#include "percent_format.hpp"
#include "text_operations.hpp"
#include "text_search.hpp"

namespace qjl::engine::jinja {
namespace {

using Kind = Value::Kind;
constexpr auto kNowhere = std::string::npos;

const OriginText& self_of(Call& call) {
  const OriginText& text = call.self.as_text();
  call.run.spend_bytes(text.size());
  return text;
}

Value whole(std::size_t number) { return Value::integer(static_cast<std::int64_t>(number)); }

// An argument that is a text or none.
const std::string* characters(const Call& call, std::size_t index) {
  if (!call.has(index) || call.at(index).is(Kind::none)) return nullptr;
  return &call.text(index).bytes();
}

template <Side side>
Value strip(Call& call) {
  const OriginText& text = self_of(call);
  const std::string* chosen = characters(call, 0);
  return Value::text(stripped(call.run, text, side, chosen));
}

// The text or texts of a prefix or suffix.
template <typename Holds>
Value any_of(Call& call, const Holds& holds) {
  const Value& given = call.at(0);
  if (!given.is(Kind::tuple)) return Value::boolean(holds(self_of(call).bytes(), call.text(0).bytes()));
  for (const Value& one : given.as_list().items) {
    if (!one.is_text()) call.fail("a " + one.type_name() + " in the tuple", "texts");
    call.run.spend_bytes(one.as_text().size());
    if (holds(call.self.bytes(), one.bytes())) return Value::boolean(true);
  }
  return Value::boolean(false);
}

Value starts_with(Call& call) {
  return any_of(call, [](const std::string& text, const std::string& part) { return text.starts_with(part); });
}

Value ends_with(Call& call) {
  return any_of(call, [](const std::string& text, const std::string& part) { return text.ends_with(part); });
}

// The bytes [begin, end) of the text that arguments 1 and 2 name in characters; false where they name none.
bool part_of(const Call& call, const std::string& text, std::size_t& begin, std::size_t& end) {
  begin = 0;
  end = text.size();
  if (!call.has(1) && !call.has(2)) return true;
  const auto count = static_cast<std::int64_t>(count_characters(text));
  const auto place = [&](std::size_t index, std::int64_t otherwise) {
    if (!call.has(index) || call.at(index).is(Kind::none)) return otherwise;
    const std::int64_t given = call.integer(index);
    return std::max<std::int64_t>(given < 0 ? given + count : given, 0);
  };
  const std::int64_t first = place(1, 0), last = std::min(place(2, count), count);
  if (first > last) return false;
  begin = byte_of_character(text, static_cast<std::size_t>(first));
  end = byte_of_character(text, static_cast<std::size_t>(last));
  return true;
}

enum class From : std::uint8_t { start, end };

std::int64_t place_of(Call& call, From from) {
  const std::string& text = self_of(call).bytes();
  const std::string& part = call.text(0).bytes();
  std::size_t begin = 0, end = 0;
  if (!part_of(call, text, begin, end)) return -1;
  const std::string_view inside = std::string_view(text).substr(begin, end - begin);
  const std::size_t at = from == From::start ? find_first(inside, part) : find_last(inside, part);
  return at == kNowhere ? -1 : static_cast<std::int64_t>(count_characters(std::string_view(text).substr(0, begin + at)));
}

template <From from>
Value find(Call& call) {
  return Value::integer(place_of(call, from));
}

template <From from>
Value index(Call& call) {
  const std::int64_t place = place_of(call, from);
  if (place < 0) call.fail("a text without that part", "one with it");
  return Value::integer(place);
}

Value count(Call& call) {
  const std::string& text = self_of(call).bytes();
  const std::string& part = call.text(0).bytes();
  std::size_t begin = 0, end = 0, found = 0;
  if (!part_of(call, text, begin, end)) return whole(0);
  const std::string_view inside = std::string_view(text).substr(begin, end - begin);
  if (part.empty()) return whole(count_characters(inside) + 1);
  for (std::size_t at = find_first(inside, part); at != kNowhere; at = find_first(inside, part, at + part.size())) ++found;
  return whole(found);
}

// How many cuts or changes at most; -1: all.
std::int64_t limit(const Call& call, std::size_t index) { return std::max<std::int64_t>(call.integer(index, -1), -1); }

// Words between white space, at most `most` cuts.
std::vector<OriginText> split_words(Interpreter& run, const OriginText& text, std::int64_t most, From from) {
  std::vector<OriginText> parts;
  OriginText rest = stripped(run, text, from == From::start ? Side::left : Side::right, nullptr);
  const std::string_view all = rest.bytes();
  std::size_t begin = 0, end = all.size();
  while (begin < end) {
    run.spend(kPartCost);
    if (most-- == 0) {
      const OriginText last = rest.slice(begin, end);
      parts.push_back(stripped(run, last, from == From::start ? Side::left : Side::right, nullptr));
      break;
    }
    std::size_t a = begin, b = end;
    if (from == From::start) {
      for (b = a; b < end && !is_space(first_character(all.substr(b)).code);) b += first_character(all.substr(b)).bytes;
      parts.push_back(rest.slice(a, b));
      begin = end - trim_start(all.substr(b, end - b)).size();
    } else {
      while (a < b && !is_space(last_character(all.substr(a, b - a)).code)) b -= last_character(all.substr(a, b - a)).bytes;
      parts.push_back(rest.slice(b, end));
      end = a + trim_end(all.substr(a, b - a)).size();
    }
  }
  if (from == From::end) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<OriginText> split_at(Interpreter& run, const OriginText& text, const std::string& between, std::int64_t most,
                                 From from) {
  const std::string_view all = text.bytes();
  std::vector<OriginText> parts;
  std::size_t begin = 0, end = all.size();
  while (most-- != 0) {
    run.spend(kPartCost);
    const std::size_t at = from == From::start ? find_first(all, between, begin) : find_last(all.substr(0, end), between);
    if (at == kNowhere) break;
    if (from == From::start) {
      parts.push_back(text.slice(begin, at));
      begin = at + between.size();
    } else {
      parts.push_back(text.slice(at + between.size(), end));
      end = at;
    }
  }
  parts.push_back(text.slice(begin, end));
  if (from == From::end) std::reverse(parts.begin(), parts.end());
  return parts;
}

template <From from>
Value split(Call& call) {
  const OriginText& text = self_of(call);
  const std::string* between = characters(call, 0);
  const std::int64_t most = limit(call, 1);
  if (between != nullptr && between->empty()) call.fail("an empty separator", "one with a character");
  auto parts = between == nullptr ? split_words(call.run, text, most, from) : split_at(call.run, text, *between, most, from);
  return Value::list(values_of(std::move(parts)));
}

template <From from>
Value partition(Call& call) {
  const OriginText& text = self_of(call);
  const OriginText& between = call.text(0);
  if (between.empty()) call.fail("an empty separator", "one with a character");
  const std::size_t at = from == From::start ? find_first(text.bytes(), between.bytes()) : find_last(text.bytes(), between.bytes());
  std::vector<OriginText> parts = {text, {}, {}};
  if (at == kNowhere) {
    if (from == From::end) std::swap(parts[0], parts[2]);
  } else {
    parts = {text.slice(0, at), between, text.slice(at + between.size(), text.size())};
  }
  return Value::tuple(values_of(std::move(parts)));
}

Value splitlines(Call& call) {
  auto lines = split_lines(call.run, self_of(call), call.flag(0, false) ? LineEnds::keep : LineEnds::drop);
  return Value::list(values_of(std::move(lines)));
}

Value join(Call& call) {
  std::vector<OriginText> parts;
  for (const Value& item : call.run.items_of(call.at(0))) {
    if (!item.is_text()) call.fail("a " + item.type_name() + " in the list", "texts");
    call.run.spend_bytes(item.as_text().size() + call.self.as_text().size());
    parts.push_back(item.as_text());
  }
  return Value::text(joined(call.self.as_text(), parts));
}

Value replace(Call& call) {
  const OriginText& text = self_of(call);
  const OriginText& by = call.text(1);
  const std::int64_t most = limit(call, 2);
  const std::string& old = call.text(0).bytes();
  if (by.size() > old.size()) call.run.spend_bytes((text.size() / std::max<std::size_t>(old.size(), 1) + 1) * by.size());
  return Value::text(replaced(text, old, by, most));
}

Value remove_prefix(Call& call) {
  const OriginText& text = self_of(call);
  const std::string& part = call.text(0).bytes();
  return text.bytes().starts_with(part) ? Value::text(text.slice(part.size(), text.size())) : call.self;
}

Value remove_suffix(Call& call) {
  const OriginText& text = self_of(call);
  const std::string& part = call.text(0).bytes();
  return text.bytes().ends_with(part) ? Value::text(text.slice(0, text.size() - part.size())) : call.self;
}

Value upper(Call& call) { return Value::text(uppered(self_of(call))); }
Value lower(Call& call) { return Value::text(lowered(self_of(call))); }
Value capitalize(Call& call) { return Value::text(capitalized(self_of(call))); }
Value title(Call& call) {
  return Value::text(mapped(self_of(call), [](char32_t code, bool after) { return after ? to_lower(code) : to_title(code); }));
}
Value swapcase(Call& call) {
  return Value::text(mapped(self_of(call), [](char32_t code, bool) { return is_upper(code) ? to_lower(code) : to_upper(code); }));
}

enum class Place : std::uint8_t { left, right, centre, zeros };

template <Place place>
Value justify(Call& call) {
  const OriginText& text = self_of(call);
  const auto found = static_cast<std::int64_t>(count_characters(text.bytes()));
  const std::int64_t width = std::max<std::int64_t>(call.integer(0), 0);
  const auto missing = static_cast<std::size_t>(std::max<std::int64_t>(width - found, 0));
  OriginText fill(place == Place::zeros ? "0" : " ", Origin::markup);
  if (place != Place::zeros && call.has(1)) fill = call.text(1);
  if (count_characters(fill.bytes()) != 1) call.fail("a filling of several characters", "one");
  call.run.spend(missing);
  if (place == Place::left) return Value::text(padded(text, 0, missing, fill));
  if (place == Place::right) return Value::text(padded(text, missing, 0, fill));
  if (place == Place::zeros) {
    const std::size_t sign = !text.empty() && (text.bytes()[0] == '-' || text.bytes()[0] == '+') ? 1 : 0;
    OriginText out = text.slice(0, sign);
    out.append(padded(text.slice(sign, text.size()), missing, 0, fill));
    return Value::text(std::move(out));
  }
  const std::size_t before = missing / 2 + (missing & static_cast<std::size_t>(width) & 1);  // as CPython rounds
  return Value::text(padded(text, before, missing - before, fill));
}

// True when there is a character and all hold.
template <bool (*holds)(char32_t)>
Value all(Call& call) {
  std::string_view rest = self_of(call).bytes();
  if (rest.empty()) return Value::boolean(false);
  for (; !rest.empty(); rest.remove_prefix(first_character(rest).bytes)) {
    if (!holds(first_character(rest).code)) return Value::boolean(false);
  }
  return Value::boolean(true);
}

bool is_alphanumeric(char32_t code) { return is_letter(code) || is_numeric(code); }
bool is_ascii(char32_t code) { return code < 0x80; }

// At least one letter of that case and none of the other.
template <bool (*wanted)(char32_t), bool (*other)(char32_t)>
Value cased(Call& call) {
  std::string_view rest = self_of(call).bytes();
  bool found = false;
  for (; !rest.empty(); rest.remove_prefix(first_character(rest).bytes)) {
    const char32_t code = first_character(rest).code;
    if (other(code) || is_title(code)) return Value::boolean(false);
    found = found || wanted(code);
  }
  return Value::boolean(found);
}

Value is_titled(Call& call) {
  std::string_view rest = self_of(call).bytes();
  bool found = false, after = false;
  for (; !rest.empty(); rest.remove_prefix(first_character(rest).bytes)) {
    const char32_t code = first_character(rest).code;
    const bool high = is_upper(code) || is_title(code), low = is_lower(code);
    if ((high && after) || (low && !after)) return Value::boolean(false);
    after = high || low;
    found = found || after;
  }
  return Value::boolean(found);
}

Value is_all_ascii(Call& call) { return call.self.as_text().empty() ? Value::boolean(true) : all<is_ascii>(call); }

Value is_name(Call& call) {
  std::string_view rest = self_of(call).bytes();
  bool first = true, holds = !rest.empty();
  for (; holds && !rest.empty(); rest.remove_prefix(first_character(rest).bytes)) {
    const char32_t code = first_character(rest).code;
    holds = code == '_' || is_letter(code) || (!std::exchange(first, false) && is_decimal(code));
    first = false;
  }
  return Value::boolean(holds);
}

constexpr std::array<Builtin, 41> kMethods = {{
    {"capitalize", "", capitalize},
    {"casefold", "", lower},
    {"center", "width fill", justify<Place::centre>},
    {"count", "part start end", count},
    {"endswith", "suffix", ends_with},
    {"find", "part start end", find<From::start>},
    {"format", "*", brace_format},
    {"index", "part start end", index<From::start>},
    {"isalnum", "", all<is_alphanumeric>},
    {"isalpha", "", all<is_letter>},
    {"isascii", "", is_all_ascii},
    {"isdecimal", "", all<is_decimal>},
    {"isdigit", "", all<is_digit>},
    {"isidentifier", "", is_name},
    {"islower", "", cased<is_lower, is_upper>},
    {"isnumeric", "", all<is_numeric>},
    {"isspace", "", all<is_space>},
    {"istitle", "", is_titled},
    {"isupper", "", cased<is_upper, is_lower>},
    {"join", "parts", join},
    {"ljust", "width fill", justify<Place::left>},
    {"lower", "", lower},
    {"lstrip", "characters", strip<Side::left>},
    {"partition", "separator", partition<From::start>},
    {"removeprefix", "prefix", remove_prefix},
    {"removesuffix", "suffix", remove_suffix},
    {"replace", "old new count", replace},
    {"rfind", "part start end", find<From::end>},
    {"rindex", "part start end", index<From::end>},
    {"rjust", "width fill", justify<Place::right>},
    {"rpartition", "separator", partition<From::end>},
    {"rsplit", "sep maxsplit", split<From::end>},
    {"rstrip", "characters", strip<Side::right>},
    {"split", "sep maxsplit", split<From::start>},
    {"splitlines", "keepends", splitlines},
    {"startswith", "prefix", starts_with},
    {"strip", "characters", strip<Side::both>},
    {"swapcase", "", swapcase},
    {"title", "", title},
    {"upper", "", upper},
    {"zfill", "width", justify<Place::zeros>},
}};

}  // namespace

std::span<const Builtin> text_methods() { return kMethods; }

}  // namespace qjl::engine::jinja
