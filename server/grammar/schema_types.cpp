// Texts, numbers, lists and objects with their keywords.
#include <algorithm>
#include <array>
#include <set>

#include "number_range.hpp"
#include "pattern.hpp"
#include "qjl/error.hpp"
#include "schema_reader.hpp"

namespace qjl::server {
namespace {

using Part = Grammar::Part;

constexpr std::int64_t kMostTimes = 4096, kMostNameBytes = 200;
constexpr std::int64_t kMostOptional = 128;  // properties of one object: see kMostWays in schema.cpp

// Patterns whose texts all have the format; not every text that has it. Dates are of the years 1000 to 9999, in February to the 28th.
#define QJL_DATE \
  "[1-9]\\d{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))"
#define QJL_TIME "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
struct Format {
  std::string_view name, pattern;
};
constexpr std::array kFormats = {
    Format{"date", "^" QJL_DATE "$"},
    Format{"time", "^" QJL_TIME "$"},
    Format{"date-time", "^" QJL_DATE "T" QJL_TIME "$"},
    Format{"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
    Format{"ipv4", "^(?:(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)\\.){3}(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)$"},
    Format{"email",
           "^[A-Za-z0-9]{1,20}(?:[._+-][A-Za-z0-9]{1,20}){0,2}@(?:[a-z0-9]{1,20}(?:-[a-z0-9]{1,20})?\\.){1,3}[a-z]{2,10}$"}};
#undef QJL_DATE
#undef QJL_TIME

std::string_view pattern_of(std::string_view format) {
  for (const Format& each : kFormats) {
    if (each.name == format) return each.pattern;
  }
  return {};
}

void check_count(const Place& place, std::string_view name, std::int64_t count) {
  if (count > kMostTimes) refuse_word(place, name, "which is enforced up to " + std::to_string(kMostTimes));
}

struct Counts {
  std::int64_t least, most;
};

Counts counts(const Json& schema, const Place& place, std::string_view least_name, std::string_view most_name) {
  const Counts out{count_word(schema, place, least_name, 0), count_word(schema, place, most_name, Grammar::kNoLimit)};
  if (out.most != Grammar::kNoLimit && out.most < out.least)
    wrong_schema(step(place, most_name), "a number below `" + std::string(least_name) + "`", "at least as many");
  return out;
}

}  // namespace

Part SchemaReader::string_part(const Json& schema, const Place& place) {
  const auto [least, most] = counts(schema, place, "minLength", "maxLength");
  check_count(place, "minLength", least);
  const Json *pattern = word(schema, "pattern"), *format = word(schema, "format");
  if (pattern == nullptr && format == nullptr) {
    check_count(place, "maxLength", most);
    return json_.string(least, most);
  }
  if (pattern != nullptr && format != nullptr) refuse_word(place, "format", "which is not enforced beside `pattern`");
  const std::string_view name = pattern != nullptr ? "pattern" : "format";
  const Json& text = pattern != nullptr ? *pattern : *format;
  if (!text.is_string()) wrong_schema(step(place, name), "no text", "a text");
  const std::string_view expression =
      pattern != nullptr ? text.get_ref<const std::string&>() : pattern_of(text.get_ref<const std::string&>());
  if (format != nullptr && expression.empty())
    refuse_word(place, "format", "which is enforced for date, time, date-time, uuid, ipv4 and email");
  PatternPart read{};
  try {
    read = read_pattern(json_, expression);
  } catch (const Error& error) {
    refuse_word(place, name, std::string("in which was ") + error.what());
  }
  const bool fits = read.least >= least && (most == Grammar::kNoLimit || (read.most != Grammar::kNoLimit && read.most <= most));
  if (!fits)
    refuse_word(place, most == Grammar::kNoLimit ? "minLength" : "maxLength",
                "which is not enforced beside `" + std::string(name) + "` that does not keep to it");
  return g_.rule(json_.quoted(read.part));
}

Part SchemaReader::number_part(const Json& schema, const Place& place, bool is_whole) {
  if (const Json* multiple = word(schema, "multipleOf"); multiple != nullptr && !(is_whole && *multiple == 1))
    refuse_word(place, "multipleOf", "which is enforced as 1 of integers alone");
  const auto bound = [&](const char* name, const char* exclusive_name, double sign) -> std::optional<NumberBound> {
    std::optional<NumberBound> out;
    for (const char* each : {name, exclusive_name}) {
      const Json* found = word(schema, each);
      if (found == nullptr) continue;
      if (!found->is_number()) wrong_schema(step(place, each), "no number", "a number");
      const double difference = out ? sign * (found->get<double>() - out->value.get<double>()) : 1;
      if (difference > 0 || (difference == 0 && each == exclusive_name))
        out = {.value = *found, .is_exclusive = each == exclusive_name};
    }
    return out;
  };
  const auto least = bound("minimum", "exclusiveMinimum", 1), most = bound("maximum", "exclusiveMaximum", -1);
  try {
    return number_between(json_, is_whole, least, most);
  } catch (const Error& error) {
    if (g_.weight() > Grammar::kMostWeight) throw;
    refuse_word(place, least ? "minimum" : "maximum", std::string("of which was ") + error.what());
  }
}

// Of prefixItems those that must be there, then as many as come, then further ones.
Part SchemaReader::array_part(const Json& schema, const Place& place) {
  const auto [least, most] = counts(schema, place, "minItems", "maxItems");
  check_count(place, "minItems", least);
  check_count(place, "maxItems", most);
  if (const Json* unique = word(schema, "uniqueItems"); unique != nullptr && *unique != false && (most < 0 || most > 1))
    refuse_word(place, "uniqueItems", "which is not enforced");
  const Json none = Json::array(), *items = word(schema, "items"), *first = word(schema, "prefixItems");
  if (items != nullptr && items->is_array())
    refuse_word(place, "items", "which is enforced as one schema: a list is `prefixItems`");
  const Json& prefix = first != nullptr ? *first : none;
  if (!prefix.is_array()) wrong_schema(step(place, "prefixItems"), "no list", "a list of schemas");
  const std::int64_t fixed = most == Grammar::kNoLimit ? std::ssize(prefix) : std::min(std::ssize(prefix), most);

  const bool has_more = items != nullptr ? *items != false : prefix.empty() || least > fixed;
  std::optional<Part> rest;
  if (has_more && most != fixed) {
    const Part item = g_.rule(items != nullptr ? value(*items, step(place, "items")) : json_.value());
    const std::int64_t more = most == Grammar::kNoLimit ? most : most - fixed, needed = std::max<std::int64_t>(least - fixed, 0);
    rest = fixed == 0 ? json_.list(item, needed, more) : g_.repeat(g_.rule(g_.sequence({json_.comma(), item})), needed, more);
  } else if (least > fixed) {
    wrong_schema(step(place, "minItems"), "more than there are items", "fewer");
  }
  Part tail = rest ? *rest : g_.text("");
  for (std::int64_t i = fixed; i-- > 0;) {
    const Place here = step(step(place, "prefixItems"), std::to_string(i));
    std::vector<Part> row = {value(prefix[static_cast<std::size_t>(i)], here), tail};
    if (i > 0) row.insert(row.begin(), json_.comma());
    tail = g_.sequence(std::move(row));
    if (i >= least) tail = g_.optional(tail);
    tail = g_.rule(tail);
  }
  return g_.sequence({g_.text("["), tail, g_.text("]")});
}

void SchemaReader::add_member(Members& all, std::string_view name, Part value, bool is_required) {
  all.named.push_back({g_.rule(g_.sequence({json_.literal(Json(std::string(name))), json_.colon(), value})), is_required});
  all.names.push_back(name);
}

// Those of `properties` in its order, then required ones that it does not have.
SchemaReader::Members SchemaReader::members(const Json& schema, const Place& place) {
  static const Json anything = true;
  Members all;
  const Json none = Json::object(), *properties = word(schema, "properties"), *required = word(schema, "required");
  const Json* others = word(schema, "additionalProperties");
  if (properties != nullptr && !properties->is_object()) wrong_schema(step(place, "properties"), "no object", "schemas by name");
  if (required != nullptr && !required->is_array()) wrong_schema(step(place, "required"), "no list", "a list of names");
  std::set<std::string_view> needed;
  for (const Json& name : required != nullptr ? *required : none) {
    if (!name.is_string()) wrong_schema(step(place, "required"), "what is no text", "a list of names");
    needed.insert(name.get_ref<const std::string&>());
  }
  for (const auto& [name, each] : (properties != nullptr ? *properties : none).items()) {
    const bool is_required = needed.erase(name) > 0;
    if (each == false && !is_required) {  // may not be there
      all.names.push_back(properties->find(name).key());
      continue;
    }
    add_member(all, properties->find(name).key(), value(each, step(step(place, "properties"), name)), is_required);
  }
  const bool is_open = properties == nullptr && required == nullptr;
  if (others != nullptr ? *others != false : is_open) all.others = others != nullptr ? others : &anything;
  for (const std::string_view name : needed) {
    if (others != nullptr && *others == false)
      wrong_schema(step(place, "required"), "a name that no property may have", "names of properties");
    add_member(all, name, others != nullptr ? value(*others, step(place, "additionalProperties")) : json_.value(), true);
  }
  return all;
}

Part SchemaReader::others_part(const Members& all, const Place& place) {
  for (const std::string_view name : all.names) {
    if (std::ssize(name) > kMostNameBytes)
      refuse_word(place, "additionalProperties",
                  "which is not enforced beside names of more than " + std::to_string(kMostNameBytes) + " bytes");
  }
  const Part name = all.names.empty() ? json_.string(0, Grammar::kNoLimit) : json_.other_string(all.names);
  return g_.rule(g_.sequence({name, json_.colon(), value(*all.others, step(place, "additionalProperties"))}));
}

// From the end: what may come after a member, and what when none has come yet. Both of one rest, so each rest is a rule.
Part SchemaReader::in_order(const Members& all, std::optional<Part> other) {
  Part after = g_.text(""), first = after;
  if (other && all.most_others != 0) {
    first = json_.list(*other, 0, all.most_others);
    after = g_.repeat(g_.rule(g_.sequence({json_.comma(), *other})), 0, all.most_others);
  }
  for (auto member = all.named.rbegin(); member != all.named.rend(); ++member) {
    const Part rest = g_.rule(after);
    const Part begun = g_.sequence({member->part, rest}), joined = g_.sequence({json_.comma(), member->part, rest});
    first = member->is_required ? begun : g_.one_of({begun, g_.rule(first)});
    after = member->is_required ? joined : g_.one_of({joined, rest});
  }
  return first;
}

Part SchemaReader::object_part(const Json& schema, const Place& place) {
  const auto [least, most] = counts(schema, place, "minProperties", "maxProperties");
  Members all = members(schema, place);
  const std::int64_t named = std::ssize(all.named);
  if (std::ranges::count(all.named, false, &Members::Named::is_required) > kMostOptional)
    refuse_word(place, "properties", "which is enforced for " + std::to_string(kMostOptional) + " that are not required");
  if (least > std::ranges::count(all.named, true, &Members::Named::is_required))
    refuse_word(place, "minProperties", "which is enforced up to as many as are required");
  if (most != Grammar::kNoLimit) {
    if (named > most) refuse_word(place, "maxProperties", "which is enforced from as many as have names on");
    check_count(place, "maxProperties", most);
    all.most_others = most - named;
  }
  std::optional<Part> other;
  if (all.others != nullptr && all.most_others != 0) other = others_part(all, place);
  return g_.sequence({g_.text("{"), in_order(all, other), g_.text("}")});
}

}  // namespace qjl::server
