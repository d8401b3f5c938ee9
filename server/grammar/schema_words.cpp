// Lists of words, and messages.
#include "schema_words.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "qjl/error.hpp"

namespace qjl::server {
namespace {

// What says nothing about values. `discriminator` is OpenAPI's: it tells readers where to look.
constexpr std::array<std::string_view, 14> kAnnotations = {"title",   "description", "default",       "examples", "example",
                                                           "$schema", "$comment",    "deprecated",    "readOnly", "writeOnly",
                                                           "$defs",   "definitions", "discriminator", "$id"};
bool is_annotation(std::string_view name, const Place& place) {
  if (name == "$id") return place == "#";  // elsewhere it would change what references mean
  return std::ranges::find(kAnnotations, name) != kAnnotations.end();
}

constexpr std::size_t kShown = 64;
std::string shown(std::string_view word) { return std::string(word.substr(0, kShown)) + (word.size() > kShown ? "..." : ""); }

}  // namespace

std::string step(const Place& place, std::string_view word) {
  std::string out = place + "/";
  for (const char c : word) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return out;
}

void refuse_word(const Place& place, std::string_view word, const std::string& why) {
  throw Error(ErrorKind::unsupported, "found the keyword `" + shown(word) + "` at " + shown(place) + ", " + why);
}

void wrong_schema(const Place& place, const std::string& found, const std::string& wanted) {
  throw Error(ErrorKind::invalid_argument, "found " + found + " at " + shown(place) + ", wanted " + wanted);
}

const std::vector<TypeWords>& type_words() {
  static const std::vector<TypeWords> all = {
      {"string", {"minLength", "maxLength", "pattern", "format"}},
      {"number", {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}},
      {"array", {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}},
      {"object", {"properties", "required", "additionalProperties", "minProperties", "maxProperties"}},
  };
  return all;
}

void accept_words(const Json& schema, const Place& place, std::initializer_list<std::string_view> enforced,
                  std::string_view beside) {
  for (const auto& [name, value] : schema.items()) {
    if (is_annotation(name, place) || std::ranges::find(enforced, name) != enforced.end()) continue;
    refuse_word(place, name,
                beside.empty() ? "which is not enforced" : "which is not enforced beside `" + std::string(beside) + "`");
  }
}

void accept_typed_words(const Json& schema, const Place& place) {
  for (const auto& [name, value] : schema.items()) {
    const auto has = [&name](const TypeWords& each) { return std::ranges::find(each.words, name) != each.words.end(); };
    if (is_annotation(name, place) || name == "type" || std::ranges::any_of(type_words(), has)) continue;
    refuse_word(place, name, "which is not enforced");
  }
}

const Json* word(const Json& schema, std::string_view name) {
  const auto found = schema.find(name);
  return found == schema.end() ? nullptr : &*found;
}

std::int64_t count_word(const Json& schema, const Place& place, std::string_view name, std::int64_t absent) {
  const Json* found = word(schema, name);
  if (found == nullptr) return absent;
  constexpr double kMany = 1e9;
  const bool is_count = found->is_number() && found->get<double>() >= 0 && found->get<double>() == std::floor(found->get<double>());
  if (!is_count) wrong_schema(step(place, name), "no count", "a whole number from 0 on");
  return static_cast<std::int64_t>(std::min(found->get<double>(), kMany));
}

}  // namespace qjl::server
