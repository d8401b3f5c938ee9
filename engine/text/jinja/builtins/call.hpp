// A call of something built in: the arguments, bound to its parameters.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "interpreter.hpp"

namespace qjl::engine::jinja {

class Call {
 public:
  // parameters: names with spaces between them; a last "*" takes any further arguments.
  // Errors: Fault on an argument that no parameter takes.
  Call(Interpreter& interpreter, std::string_view name, Value self, std::string_view parameters, const Arguments& arguments);

  Interpreter& run;
  const Value self;
  std::vector<Value> rest;  // further arguments
  NamedValues named;        // further ones with names

  bool has(std::size_t index) const { return bound_[index].has_value(); }
  const Value& at(std::size_t index) const;  // Fault when it is not given
  Value get(std::size_t index, Value otherwise) const;
  std::int64_t integer(std::size_t index) const;  // Fault on other types
  std::int64_t integer(std::size_t index, std::int64_t otherwise) const;
  bool flag(std::size_t index, bool otherwise) const;
  const OriginText& text(std::size_t index) const;  // Fault on other types
  [[noreturn]] void fail(const std::string& found, const std::string& wanted) const;

 private:
  std::string_view name_;
  std::vector<std::string_view> parameters_;
  std::vector<std::optional<Value>> bound_;
};

struct Builtin {
  std::string_view name;
  std::string_view parameters;
  Value (*run)(Call& call);
};

// Runs a method; of a text that is marked safe the result is too.
Value run_method(Interpreter& run, const Builtin& method, const Value& self, const Arguments& arguments);

const Builtin* find_builtin(std::span<const Builtin> table, std::string_view name);

std::span<const Builtin> text_filters();
std::span<const Builtin> list_filters();
std::span<const Builtin> tests();
std::span<const Builtin> functions();
std::span<const Builtin> text_methods();
std::span<const Builtin> list_methods();
std::span<const Builtin> dict_methods();

// A method of `value`, or null.
const Builtin* find_method(const Value& value, std::string_view name);

}  // namespace qjl::engine::jinja
