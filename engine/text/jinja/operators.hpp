// Python's operators on values.
#pragma once

#include <optional>

#include "interpreter.hpp"

namespace qjl::engine::jinja {

Value binary(Interpreter& run, Operator op, const Value& left, const Value& right);
Value negated(const Value& value);
Value numeric(const Value& value);  // the value, if it has a sign
bool is_nan(const Value& left, const Value& right);
// needle in hay
bool contains(Interpreter& run, const Value& hay, const Value& needle);
// value[begin:end:step]; none where a bound is left out
Value slice(Interpreter& run, const Value& value, const Value& begin, const Value& end, const Value& step);
// value[index] of a text or list, from the end where index < 0; nothing when there is none
std::optional<Value> item_at(Interpreter& run, const Value& value, std::int64_t index);
// A whole number within 64 bits. Errors: Fault.
Value checked(bool overflows, std::int64_t value);

}  // namespace qjl::engine::jinja
