// Values with a life of their own: functions, macros, namespaces, loops. The interpreter owns them until the prompt is made.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "value.hpp"

namespace qjl::engine::jinja {

class Interpreter;

// Names are texts: those of **dict keep the origin that they have there.
using NamedValues = std::vector<std::pair<Value, Value>>;

struct Arguments {
  std::vector<Value> positional;
  NamedValues named;
};

class Object {
 public:
  virtual ~Object() = default;
  virtual std::string type_name() const = 0;
  virtual std::optional<Value> attribute(std::string_view) { return std::nullopt; }
  virtual bool set_attribute(std::string_view, const Value&) { return false; }  // false: it has none to set
  virtual bool callable() const { return true; }
  virtual Value call(Interpreter&, const Arguments&) { throw Fault("found a call of a " + type_name() + ", wanted a function"); }
};

}  // namespace qjl::engine::jinja
