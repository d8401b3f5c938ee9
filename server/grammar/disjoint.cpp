// Schemas that no value has in common: by type, by listed values, or by a tag, a property that one of them requires.
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "qjl/error.hpp"
#include "schema_reader.hpp"

namespace qjl::server {
namespace {

constexpr int kMostSteps = 32;  // through references

// What is known of the values of a schema.
struct Outline {
  std::vector<std::string> kinds;                      // types, integer as number
  std::optional<std::vector<Json>> values = {};        // all of them, where they are listed
  std::map<std::string, std::vector<Json>> tags = {};  // what a property is, if it is there
  std::vector<std::string> required = {};
};

const std::vector<std::string> kEvery = {"string", "number", "boolean", "null", "array", "object"};

std::string kind_of(const Json& value) { return value.is_number() ? "number" : value.type_name(); }

// Through references and lists of one.
const Json& inside(const Json& root, const Json& schema) {
  const Json* at = &schema;
  for (int i = 0; i < kMostSteps && at->is_object(); ++i) {
    const Json *reference = word(*at, "$ref"), *all = word(*at, "allOf");
    if (reference != nullptr)
      at = &referred(root, *reference, "#");
    else if (all != nullptr && all->is_array() && all->size() == 1)
      at = &all->front();
    else
      break;
  }
  return *at;
}

std::optional<std::vector<Json>> listed_values(const Json& schema) {
  if (!schema.is_object()) return std::nullopt;
  if (const Json* only = word(schema, "const")) return std::vector<Json>{*only};
  if (const Json* list = word(schema, "enum"); list != nullptr && list->is_array())
    return std::vector<Json>(list->begin(), list->end());
  return std::nullopt;
}

Outline outline(const Json& root, const Json& given) {
  const Json& schema = inside(root, given);
  Outline out{.kinds = kEvery};
  if (!schema.is_object()) return out;
  if (const Json* type = word(schema, "type")) {
    out.kinds.clear();
    for (const Json& each : type->is_array() ? *type : Json::array({*type})) {
      if (each.is_string()) out.kinds.push_back(each == "integer" ? "number" : each.get<std::string>());
    }
  }
  out.values = listed_values(schema);
  if (out.values) {
    out.kinds.clear();
    for (const Json& value : *out.values) out.kinds.push_back(kind_of(value));
  }
  if (const Json* properties = word(schema, "properties"); properties != nullptr && properties->is_object()) {
    for (const auto& [name, each] : properties->items()) {
      if (const auto values = listed_values(inside(root, each))) out.tags.emplace(name, *values);
    }
  }
  if (const Json* required = word(schema, "required"); required != nullptr && required->is_array()) {
    for (const Json& name : *required) {
      if (name.is_string()) out.required.push_back(name.get<std::string>());
    }
  }
  return out;
}

template <typename List>
bool share_one(const List& a, const List& b) {
  return std::ranges::any_of(a, [&](const auto& each) { return std::ranges::find(b, each) != b.end(); });
}

bool is_required(const Outline& outline, const std::string& name) {
  return std::ranges::find(outline.required, name) != outline.required.end();
}

}  // namespace

bool are_disjoint(const Json& root, const Json& first, const Json& second) {
  const Outline a = outline(root, first), b = outline(root, second);
  if (!share_one(a.kinds, b.kinds)) return true;
  if (a.values && b.values) return !share_one(*a.values, *b.values);
  const auto only_objects = [](const Outline& each) { return each.kinds == std::vector<std::string>{"object"}; };
  if (!only_objects(a) || !only_objects(b)) return false;
  return std::ranges::any_of(a.tags, [&](const auto& tag) {
    const auto other = b.tags.find(tag.first);
    const bool is_told = other != b.tags.end() && !share_one(tag.second, other->second);
    return is_told && is_required(a, tag.first) && is_required(b, tag.first);
  });
}

}  // namespace qjl::server
