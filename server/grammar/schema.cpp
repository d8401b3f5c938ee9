// What a schema is: a reference, alternatives, listed values, or types. References become rules that are read after the schema that
// has them, so that neither circles nor long chains of them are a recursion here.
#include "schema.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "qjl/error.hpp"
#include "schema_reader.hpp"

namespace qjl::server {
namespace {

using Part = Grammar::Part;

// The parser follows all of them at once, as long as the text does not tell them apart: at 100 a mask takes 5 ms instead of 0.03.
constexpr std::size_t kMostWays = 128;

constexpr std::array<std::string_view, 7> kTypes = {"string", "number", "integer", "boolean", "null", "array", "object"};

bool has_type(const Json& value, std::string_view type) {
  if (type == "string") return value.is_string();
  if (type == "number") return value.is_number();
  if (type == "integer")
    return value.is_number() && (value.is_number_integer() || value.get<double>() == std::floor(value.get<double>()));
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  return type == "array" ? value.is_array() : value.is_object();
}

// Empty: the schema names none and has no keyword of one.
std::vector<std::string_view> types_of(const Json& schema, const Place& place) {
  std::vector<std::string_view> types;
  if (const Json* named = word(schema, "type")) {
    const auto add = [&](const Json& each) {
      const bool is_type = each.is_string() && std::ranges::find(kTypes, each.get_ref<const std::string&>()) != kTypes.end();
      if (!is_type) wrong_schema(step(place, "type"), "no type", "string, number, integer, boolean, null, array or object");
      if (std::ranges::find(types, each.get_ref<const std::string&>()) == types.end())
        types.push_back(each.get_ref<const std::string&>());
    };
    if (!named->is_array()) return add(*named), types;
    for (const Json& each : *named) add(each);
    if (types.empty()) wrong_schema(step(place, "type"), "an empty list", "a type");
    return types;
  }
  for (const auto& [type, words] : type_words()) {
    if (std::ranges::any_of(words, [&](std::string_view name) { return schema.contains(name); })) types.push_back(type);
  }
  if (types.size() > 1) wrong_schema(place, "keywords of several types", "a `type` beside them");
  return types;
}

// Numbers that other programs read otherwise have no place in a list of values.
bool is_exact(const Json& value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (value.is_structured()) return std::all_of(value.begin(), value.end(), is_exact);
  if (!value.is_number()) return true;
  const auto x = value.get<double>();
  return std::abs(x) <= kExact || x != std::floor(x);
}

}  // namespace

const Json& referred(const Json& root, const Json& reference, const Place& place) {
  if (!reference.is_string()) wrong_schema(step(place, "$ref"), "no text", "a reference");
  const auto& text = reference.get_ref<const std::string&>();
  if (!text.starts_with('#') || (text.size() > 1 && text[1] != '/'))
    refuse_word(place, "$ref", "wanted a place of this schema, as #/$defs/name");
  if (text.find('%') != std::string::npos) refuse_word(place, "$ref", "wanted one without %");
  try {
    return root.at(Json::json_pointer(text.substr(1)));
  } catch (const Json::exception&) {
    wrong_schema(step(place, "$ref"), "a reference to nothing", "a place of this schema");
  }
}

Part SchemaReader::reference(const Json& schema, const Place& place) {
  accept_words(schema, place, {"$ref"}, "$ref");
  const Json& target = referred(root_, *word(schema, "$ref"), place);
  const auto& text = word(schema, "$ref")->get_ref<const std::string&>();
  const auto [at, is_new] = references_.try_emplace(text, Part{});
  if (is_new) {
    at->second = g_.new_rule();
    pending_.emplace_back(&target, text);
  }
  return at->second;
}

Part SchemaReader::alternatives(const Json& schema, const Place& place, std::string_view name) {
  accept_words(schema, place, {name}, name);
  const Json& list = *word(schema, name);
  const Place here = step(place, name);
  if (!list.is_array() || list.empty()) wrong_schema(here, "no list", "a list of schemas");
  if (name == "allOf" && list.size() > 1) refuse_word(place, name, "wanted one schema in it");
  ways_ += list.size() > 1 ? list.size() : 0;
  if (ways_ > kMostWays) refuse_word(place, name, "which is enforced for " + std::to_string(kMostWays) + " schemas in all");
  std::vector<Part> ways;
  for (std::size_t i = 0; i < list.size(); ++i) {
    for (std::size_t j = 0; name == "oneOf" && j < i; ++j) {
      if (!are_disjoint(root_, list[i], list[j])) {
        refuse_word(place, name,
                    "whose schemas " + std::to_string(j) + " and " + std::to_string(i) +
                        " may both hold: wanted types, constants or a required tag that differ, or anyOf");
      }
    }
    ways.push_back(value(list[i], step(here, std::to_string(i))));
  }
  return g_.one_of(std::move(ways));
}

// enum or const, those that have one of the types.
Part SchemaReader::listed(const Json& schema, const Place& place) {
  const bool is_const = schema.contains("const");
  accept_words(schema, place, {is_const ? "const" : "enum", "type"}, is_const ? "const" : "enum");
  const Json values = is_const ? Json::array({*word(schema, "const")}) : *word(schema, "enum");
  if (!values.is_array() || values.empty()) wrong_schema(step(place, "enum"), "no list", "a list of values");
  const auto types = types_of(schema, place);
  std::vector<Part> ways;
  for (const Json& each : values) {
    if (!is_exact(each)) wrong_schema(place, "a whole number beyond 2^53", "smaller ones");
    const bool fits = types.empty() || std::ranges::any_of(types, [&](std::string_view type) { return has_type(each, type); });
    if (fits) ways.push_back(json_.literal(each));
  }
  if (ways.empty()) wrong_schema(place, "no value of the type", "one");
  return g_.one_of(std::move(ways));
}

Part SchemaReader::typed(const Json& schema, const Place& place) {
  accept_typed_words(schema, place);
  const auto types = types_of(schema, place);
  if (types.empty()) return json_.value();
  const bool has_numbers = std::ranges::find(types, "number") != types.end();
  std::vector<Part> ways;
  for (const std::string_view type : types) {
    if (type == "string") ways.push_back(string_part(schema, place));
    if (type == "number") ways.push_back(number_part(schema, place, false));
    if (type == "integer" && !has_numbers) ways.push_back(number_part(schema, place, true));
    if (type == "boolean") ways.push_back(json_.boolean());
    if (type == "null") ways.push_back(json_.null());
    if (type == "array") ways.push_back(array_part(schema, place));
    if (type == "object") ways.push_back(object_part(schema, place));
  }
  return g_.one_of(std::move(ways));
}

Part SchemaReader::value(const Json& schema, const Place& place) {
  if (schema.is_boolean()) {
    if (!schema.get<bool>()) wrong_schema(place, "false, under which nothing is valid", "a schema with values");
    return json_.value();
  }
  if (!schema.is_object()) wrong_schema(place, "no schema", "an object, true or false");
  if (schema.contains("$ref")) return reference(schema, place);
  for (const std::string_view name : {"anyOf", "oneOf", "allOf"}) {
    if (schema.contains(name)) return alternatives(schema, place, name);
  }
  if (schema.contains("const") || schema.contains("enum")) return listed(schema, place);
  return typed(schema, place);
}

Part SchemaReader::read() {
  const Part start = g_.rule(value(root_, "#"));
  while (!pending_.empty()) {
    const auto [target, place] = pending_.front();
    pending_.pop_front();
    g_.define(references_.at(place), value(*target, place));
  }
  return start;
}

std::string schema_grammar(const Json& schema) {
  Grammar grammar;
  const Part start = SchemaReader(schema, grammar).read();
  if (!grammar.all_end())
    wrong_schema("#", "a schema in it all of whose values are endless", "a way out: a property that may be absent, or null");
  return grammar.ebnf(start);
}

std::string object_grammar() {
  Grammar grammar;
  JsonGrammar json(grammar);
  return grammar.ebnf(json.object());
}

}  // namespace qjl::server
