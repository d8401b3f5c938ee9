// Kinds, truth, equality and order of values, as Python has them.
#include "value.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "object.hpp"

namespace qjl::engine::jinja {
namespace {

using Kind = Value::Kind;

// Equal keys have equal words.
std::string key_word(const Value& key) {
  switch (key.kind()) {
    case Kind::text: return "t" + key.bytes();
    case Kind::none: return "n";
    case Kind::undefined: return "u";
    case Kind::boolean:
    case Kind::integer: return "i" + std::to_string(key.as_integer());
    case Kind::number: {
      const double number = key.as_number();
      if (number == std::floor(number) && std::abs(number) < 9e18) return "i" + std::to_string(static_cast<std::int64_t>(number));
      std::array<char, 32> digits{};
      return "f" + std::string(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr);
    }
    case Kind::tuple: {
      std::string word = "(";
      for (const Value& item : key.as_list().items) {
        const std::string part = key_word(item);
        word += std::to_string(part.size()) + ":" + part;
      }
      return word;
    }
    case Kind::list:
    case Kind::view:
    case Kind::generator:
    case Kind::dict:
    case Kind::object: break;
  }
  throw Fault("found a " + key.type_name() + " as a key, wanted a str, a number or a tuple");
}

std::string text_word(std::string_view text) { return std::string("t").append(text); }

// Of a list or dict that holds one item more.
void grow(Extent& extent, const Value& item) {
  const Extent found = item.extent();
  extent.depth = std::max(extent.depth, found.depth + 1);
  extent.weight += std::min(found.weight, std::numeric_limits<std::size_t>::max() - extent.weight);
  if (extent.depth > kMaxValueDepth) {
    throw Fault("found lists deeper than " + std::to_string(kMaxValueDepth) + " inside each other, wanted at most that many");
  }
}

bool equal_items(const std::vector<Value>& left, const std::vector<Value>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(), equal);
}

// A search hashes its key, so that those of the lighter one are looked for.
bool equal_dicts(const Dict& left, const Dict& right) {
  if (left.items.size() != right.items.size()) return false;
  const bool swaps = right.extent.weight < left.extent.weight;
  const Dict &lighter = swaps ? right : left, &heavier = swaps ? left : right;
  return std::all_of(lighter.items.begin(), lighter.items.end(), [&](const auto& item) {
    const Value* other = heavier.find(item.first);
    return other != nullptr && equal(item.second, *other);
  });
}

}  // namespace

Value Value::undefined(std::string why) {
  Value value;
  value.kind_ = Kind::undefined;
  value.data_ = std::make_shared<const std::string>(std::move(why));
  return value;
}

Value Value::boolean(bool truth) {
  Value value;
  value.kind_ = Kind::boolean;
  value.bits_.whole = truth ? 1 : 0;
  return value;
}

Value Value::integer(std::int64_t whole) {
  Value value;
  value.kind_ = Kind::integer;
  value.bits_.whole = whole;
  return value;
}

Value Value::number(double number) {
  Value value;
  value.kind_ = Kind::number;
  value.bits_.number = number;
  return value;
}

Value Value::text(OriginText text) {
  Value value;
  value.kind_ = Kind::text;
  value.data_ = std::make_shared<const OriginText>(std::move(text));
  return value;
}

Value Value::list(std::vector<Value> items, Kind kind, const char* label) {
  List list{std::move(items), label};
  for (const Value& item : list.items) grow(list.extent, item);
  Value value;
  value.kind_ = kind;
  value.data_ = std::make_shared<const List>(std::move(list));
  return value;
}

Value Value::dict(Dict items) {
  Value value;
  value.kind_ = Kind::dict;
  value.data_ = std::make_shared<const Dict>(std::move(items));
  return value;
}

Value Value::object(Object* object) {
  Value value;
  value.kind_ = Kind::object;
  value.bits_.object = object;
  return value;
}

Value Value::marked_safe() const {
  Value value = *this;
  value.safe_ = true;
  return value;
}

bool Value::truth() const {
  switch (kind_) {
    case Kind::undefined:
    case Kind::none: return false;
    case Kind::boolean:
    case Kind::integer: return bits_.whole != 0;
    case Kind::number: return bits_.number != 0;
    case Kind::text: return !as_text().empty();
    case Kind::list:
    case Kind::tuple:
    case Kind::view: return !as_list().items.empty();
    case Kind::dict: return !as_dict().items.empty();
    case Kind::generator:
    case Kind::object: return true;
  }
  return false;
}

bool is_key(const Value& value) {
  switch (value.kind()) {
    case Kind::tuple: return std::all_of(value.as_list().items.begin(), value.as_list().items.end(), is_key);
    case Kind::list:
    case Kind::view:
    case Kind::generator:
    case Kind::dict:
    case Kind::object: return false;
    case Kind::undefined:
    case Kind::none:
    case Kind::boolean:
    case Kind::integer:
    case Kind::number:
    case Kind::text: break;
  }
  return true;
}

Extent Value::extent() const {
  if (has_items()) return as_list().extent;
  if (is_dict()) return as_dict().extent;
  return {.depth = 0, .weight = 1 + (is_text() ? as_text().size() / 16 : 0)};
}

std::string Value::type_name() const {
  switch (kind_) {
    case Kind::undefined: return "Undefined";
    case Kind::none: return "NoneType";
    case Kind::boolean: return "bool";
    case Kind::integer: return "int";
    case Kind::number: return "float";
    case Kind::text: return "str";
    case Kind::list:
    case Kind::tuple:
    case Kind::view:
    case Kind::generator: return as_list().label;
    case Kind::dict: return "dict";
    case Kind::object: return bits_.object->type_name();
  }
  return {};
}

const Value* Dict::find(const Value& key) const {
  const auto place = places.find(key_word(key));
  return place == places.end() ? nullptr : &items[place->second].second;
}

const Value* Dict::find(std::string_view key) const {
  const auto place = places.find(text_word(key));
  return place == places.end() ? nullptr : &items[place->second].second;
}

void Dict::set(Value key, Value value) {
  grow(extent, key);
  grow(extent, value);
  const auto [place, is_new] = places.try_emplace(key_word(key), items.size());
  if (is_new) {
    items.emplace_back(std::move(key), std::move(value));
  } else {
    items[place->second].second = std::move(value);
  }
}

bool equal(const Value& left, const Value& right) {
  if (left.is_whole() && right.is_whole()) return left.as_integer() == right.as_integer();
  if (left.is_numeric() && right.is_numeric()) return left.as_number() == right.as_number();
  if (left.kind() != right.kind()) return false;
  switch (left.kind()) {
    case Kind::undefined:
    case Kind::none: return true;
    case Kind::text: return left.bytes() == right.bytes();
    case Kind::list:
    case Kind::tuple: return equal_items(left.as_list().items, right.as_list().items);
    case Kind::dict: return equal_dicts(left.as_dict(), right.as_dict());
    case Kind::boolean:
    case Kind::integer:
    case Kind::number:
    case Kind::view:
    case Kind::generator:
    case Kind::object: break;
  }
  return left.identity() == right.identity();
}

bool less(const Value& left, const Value& right) {
  if (left.is_whole() && right.is_whole()) return left.as_integer() < right.as_integer();
  if (left.is_numeric() && right.is_numeric()) return left.as_number() < right.as_number();
  if (left.is_text() && right.is_text()) return left.bytes() < right.bytes();  // of UTF-8 this is the order of code points
  const bool lists = left.kind() == right.kind() && (left.is(Kind::list) || left.is(Kind::tuple));
  if (!lists) {
    for (const Value* side : {&left, &right}) {
      if (side->is_undefined()) throw Fault(side->why_undefined());
    }
    throw Fault("found " + left.type_name() + " < " + right.type_name() + ", wanted two of a type that has an order");
  }
  const auto &first = left.as_list().items, &second = right.as_list().items;
  const auto [a, b] = std::mismatch(first.begin(), first.end(), second.begin(), second.end(), equal);
  if (a == first.end() || b == second.end()) return b != second.end();
  return less(*a, *b);
}

}  // namespace qjl::engine::jinja
