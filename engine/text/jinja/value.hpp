// What a template computes with: Python's values as far as Jinja shows them. Texts keep the origin of their bytes.
//
// Lists, tuples and dicts never change once they are made (the sandbox that templates are written for forbids it), so no value can
// hold itself, and their depth is bounded when they are made. Objects (macros, namespaces, loops) belong to the interpreter.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "origin_text.hpp"
#include "text_hash.hpp"

namespace qjl::engine::jinja {

// What goes wrong while a template runs; the interpreter adds the line.
class Fault : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline constexpr int kMaxValueDepth = 200;      // lists inside lists
inline constexpr const char* kGroup = "group";  // the label of a tuple of `groupby`: its parts are .grouper and .list

class Object;
class Value;

// How much there is of a value: levels of lists inside lists, and what it costs to walk through it (a level that is used twice
// counts twice, so that this can be much more than there is memory for).
struct Extent {
  int depth = 0;
  std::size_t weight = 1;
};

struct List {
  std::vector<Value> items;
  const char* label = "list";  // Python's name of the type, for views: dict_items, range ...
  mutable bool taken = false;  // a generator gives its items once
  Extent extent = {};
};
struct Dict;

class Value {
 public:
  enum class Kind : std::uint8_t { undefined, none, boolean, integer, number, text, list, tuple, view, generator, dict, object };

  Value() = default;                        // none
  static Value undefined(std::string why);  // what an error says when it is used
  static Value boolean(bool value);
  static Value integer(std::int64_t value);
  static Value number(double value);
  static Value text(OriginText value);
  static Value text(std::string_view bytes, Origin origin = Origin::markup) { return text(OriginText(bytes, origin)); }
  // Errors: Fault when it is deeper than kMaxValueDepth.
  static Value list(std::vector<Value> items, Kind kind = Kind::list, const char* label = "list");
  static Value tuple(std::vector<Value> items) { return list(std::move(items), Kind::tuple, "tuple"); }
  static Value generator(std::vector<Value> items) { return list(std::move(items), Kind::generator, "generator"); }
  static Value dict(Dict items);
  static Value object(Object* object);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_undefined() const { return kind_ == Kind::undefined; }
  bool is_text() const { return kind_ == Kind::text; }
  // Marked by the filters `safe` and `escape`: what is added to it with + has <>&'" escaped, as jinja2's Markup does.
  bool is_safe() const { return safe_; }
  Value marked_safe() const;
  bool is_dict() const { return kind_ == Kind::dict; }
  bool is_whole() const { return kind_ == Kind::integer || kind_ == Kind::boolean; }  // a bool is an int in Python
  bool is_numeric() const { return is_whole() || kind_ == Kind::number; }
  bool has_items() const { return kind_ == Kind::list || kind_ == Kind::tuple || kind_ == Kind::view || kind_ == Kind::generator; }

  // Each needs its kind.
  bool as_bool() const { return bits_.whole != 0; }
  std::int64_t as_integer() const { return bits_.whole; }
  double as_number() const { return kind_ == Kind::number ? bits_.number : static_cast<double>(bits_.whole); }
  const OriginText& as_text() const { return *static_cast<const OriginText*>(data_.get()); }
  const std::string& bytes() const { return as_text().bytes(); }
  const List& as_list() const { return *static_cast<const List*>(data_.get()); }
  const Dict& as_dict() const { return *static_cast<const Dict*>(data_.get()); }
  Object* as_object() const { return bits_.object; }
  const std::string& why_undefined() const { return *static_cast<const std::string*>(data_.get()); }
  const void* identity() const { return kind_ == Kind::object ? static_cast<const void*>(bits_.object) : data_.get(); }

  bool truth() const;
  Extent extent() const;
  std::string type_name() const;  // Python's: str, int, NoneType ...

 private:
  union Bits {
    std::int64_t whole;
    double number;
    Object* object;
  };
  Kind kind_ = Kind::none;
  bool safe_ = false;
  Bits bits_{};
  std::shared_ptr<const void> data_;
};

// Whether a dict may have it as a key.
bool is_key(const Value& value);

// Items in the order in which they came. Keys are those that Python hashes: 1, 1.0 and True are one.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  std::unordered_map<std::string, std::size_t, TextHash> places;
  Extent extent = {};

  const Value* find(const Value& key) const;  // nullptr when absent; Fault on a key that has no hash
  const Value* find(std::string_view key) const;
  void set(Value key, Value value);
};

// Cost: at most the smaller of the two weights.
bool equal(const Value& left, const Value& right);
// Python's <, at the same cost. Errors: Fault on types without an order.
bool less(const Value& left, const Value& right);

}  // namespace qjl::engine::jinja
