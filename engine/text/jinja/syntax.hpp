// A template as a tree. Its depth is bounded by the parser, so that walking it needs a bounded stack.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "value.hpp"

namespace qjl::engine::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class Operator : std::uint8_t { add, subtract, multiply, divide, floor_divide, modulo, power };
enum class Comparison : std::uint8_t { equal, unequal, less, less_equal, greater, greater_equal, in, not_in };

// The arguments of a call: (a, b, name=c, *list, **dict).
struct CallSyntax {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr list, dict;  // may be null
};

struct Expression {
  enum class Kind : std::uint8_t {
    constant,     // constant
    name,         // name
    list,         // parts
    tuple,        // parts
    dict,         // parts: key, value, key, value ...
    negative,     // parts[0]
    positive,     // parts[0]
    negation,     // parts[0]
    conjunction,  // parts[0] and parts[1]
    disjunction,  // parts[0] or parts[1]
    binary,       // parts[0] op parts[1]
    join,         // parts[0] ~ parts[1] ~ ...
    compare,      // parts[0] comparisons[0] parts[1] comparisons[1] ...
    conditional,  // parts[0] if parts[1] else parts[2], which may be null
    attribute,    // parts[0].name
    item,         // parts[0][parts[1]]
    slice,        // parts[0][parts[1]:parts[2]:parts[3]], each of the three may be null
    call,         // parts[0](call)
    filter,       // parts[0] | name(call); parts[0] is null where the value is a block's text
    test,         // parts[0] is name(call)
  };
  Kind kind;
  int line;
  int depth = 1;
  Operator op = Operator::add;
  std::vector<Comparison> comparisons = {};
  std::string name = {};
  Value constant = {};
  std::vector<ExpressionPtr> parts = {};
  std::unique_ptr<CallSyntax> call = {};
};

struct Statement;
using Block = std::vector<Statement>;

// The parameters of a macro or of a call block.
struct Parameters {
  std::vector<std::string> names;
  std::vector<ExpressionPtr> defaults;  // of the last of them
};

struct Branch {
  ExpressionPtr condition;  // null: else
  Block body;
};

struct Statement {
  enum class Kind : std::uint8_t {
    data,          // name is the text
    output,        // value
    branches,      // {% if %}: branches
    loop,          // for target in value if condition: body, otherwise
    set,           // target = value
    set_block,     // target = what body prints, through the filter in value if there is one
    macro,         // name, parameters, body
    call_block,    // value is a call, body its caller, with parameters
    filter_block,  // value is a filter, body what it is given
    with,          // names of target = parts of values: body
    scope,         // body: {% generation %}
    stop,          // {% break %}
    skip,          // {% continue %}
  };
  Kind kind;
  int line;
  std::string name = {};
  ExpressionPtr target = {}, value = {}, condition = {};
  Block body = {}, otherwise = {};
  std::vector<Branch> branches = {};
  Parameters parameters = {};
  bool recursive = false;
  bool takes_more = false, takes_named = false, takes_caller = false;  // of a macro: it uses varargs, kwargs, caller
};

}  // namespace qjl::engine::jinja
