// Whole numbers have 64 bits: what Python would make longer is a Fault.
#include "operators.hpp"

#include <algorithm>
#include <cmath>

#include "builtins/percent_format.hpp"
#include "builtins/text_operations.hpp"
#include "characters.hpp"
#include "text_search.hpp"

namespace qjl::engine::jinja {
namespace {

using Kind = Value::Kind;

const char* sign_of(Operator op) {
  switch (op) {
    case Operator::add: return "+";
    case Operator::subtract: return "-";
    case Operator::multiply: return "*";
    case Operator::divide: return "/";
    case Operator::floor_divide: return "//";
    case Operator::modulo: return "%";
    case Operator::power: return "**";
  }
  return "";
}

[[noreturn]] void refuse_types(Operator op, const Value& left, const Value& right) {
  for (const Value* side : {&left, &right}) {
    if (side->is_undefined()) throw Fault(side->why_undefined());
  }
  throw Fault("found " + left.type_name() + " " + sign_of(op) + " " + right.type_name() + ", wanted types that go together");
}

std::int64_t floor_quotient(std::int64_t left, std::int64_t right) {
  const std::int64_t quotient = left / right;
  return quotient - ((left % right != 0 && (left < 0) != (right < 0)) ? 1 : 0);
}

double floor_remainder(double left, double right) {
  const double remainder = std::fmod(left, right);
  if (remainder == 0) return std::copysign(0.0, right);
  return (remainder < 0) != (right < 0) ? remainder + right : remainder;
}

Value number_power(double base, double exponent) {
  if (base == 0 && exponent < 0) throw Fault("found a power of zero that is a division by zero");
  if (base < 0 && exponent != std::floor(exponent))
    throw Fault("found a root of a negative number, wanted one of a positive number");
  const double power = std::pow(base, exponent);
  if (std::isinf(power) && !std::isinf(base) && !std::isinf(exponent)) throw Fault("found a power that no double holds");
  return Value::number(power);
}

Value integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) return number_power(static_cast<double>(base), static_cast<double>(exponent));
  std::int64_t power = 1;
  bool overflows = false;
  for (std::int64_t left = exponent; left > 0; left /= 2) {
    if (left % 2 == 1) overflows = __builtin_mul_overflow(power, base, &power) || overflows;
    if (left > 1) overflows = __builtin_mul_overflow(base, base, &base) || overflows;
    if (overflows) break;
  }
  return checked(overflows, power);
}

Value on_integers(Operator op, std::int64_t left, std::int64_t right) {
  std::int64_t out = 0;
  bool overflows = false;
  const bool divides = op == Operator::divide || op == Operator::floor_divide || op == Operator::modulo;
  if (divides && right == 0) throw Fault("found a division by zero");
  if (divides && right == -1 && left == INT64_MIN) checked(true, 0);
  switch (op) {
    case Operator::add: overflows = __builtin_add_overflow(left, right, &out); break;
    case Operator::subtract: overflows = __builtin_sub_overflow(left, right, &out); break;
    case Operator::multiply: overflows = __builtin_mul_overflow(left, right, &out); break;
    case Operator::divide: return Value::number(static_cast<double>(left) / static_cast<double>(right));
    case Operator::floor_divide: return Value::integer(floor_quotient(left, right));
    case Operator::modulo: return Value::integer(left - floor_quotient(left, right) * right);
    case Operator::power: return integer_power(left, right);
  }
  return checked(overflows, out);
}

Value on_numbers(Operator op, double left, double right) {
  const bool divides = op == Operator::divide || op == Operator::floor_divide || op == Operator::modulo;
  if (divides && right == 0) throw Fault("found a division by zero");
  switch (op) {
    case Operator::add: return Value::number(left + right);
    case Operator::subtract: return Value::number(left - right);
    case Operator::multiply: return Value::number(left * right);
    case Operator::divide: return Value::number(left / right);
    case Operator::floor_divide: return Value::number(std::floor((left - floor_remainder(left, right)) / right + 0.5));
    case Operator::modulo: return Value::number(floor_remainder(left, right));
    case Operator::power: return number_power(left, right);
  }
  return {};
}

// A part of a text, marked as the whole is.
Value like(const Value& whole, const Value& part) { return whole.is_safe() ? part.marked_safe() : part; }

Value repeated(Interpreter& run, const Value& value, std::int64_t times) {
  const std::size_t count = times > 0 ? static_cast<std::size_t>(times) : 0;
  const std::size_t unit = value.is_text() ? value.as_text().size() : value.as_list().items.size();
  if (unit > 0 && count > kMaxWork * 16 / unit) run.spend(kMaxWork);
  if (value.is_text()) {
    run.spend_bytes(unit * count);
    OriginText out;
    for (std::size_t i = 0; i < count && unit > 0; ++i) out.append(value.as_text());
    return like(value, Value::text(std::move(out)));
  }
  run.spend(unit * count);
  std::vector<Value> items;
  for (std::size_t i = 0; i < count && unit > 0; ++i)
    items.insert(items.end(), value.as_list().items.begin(), value.as_list().items.end());
  return Value::list(std::move(items), value.kind(), value.as_list().label);
}

bool is_sequence(const Value& value) { return value.is_text() || value.is(Kind::list) || value.is(Kind::tuple); }

Value joined(Interpreter& run, const Value& left, const Value& right) {
  if (left.is_text()) {
    const bool safe = left.is_safe() || right.is_safe();
    run.spend_bytes((left.as_text().size() + right.as_text().size()) * (safe ? 5 : 1));
    OriginText out = safe && !left.is_safe() ? escaped(left.as_text()) : left.as_text();
    out.append(safe && !right.is_safe() ? escaped(right.as_text()) : right.as_text());
    Value sum = Value::text(std::move(out));
    return safe ? sum.marked_safe() : sum;
  }
  std::vector<Value> items = left.as_list().items;
  run.spend(items.size() + right.as_list().items.size());
  items.insert(items.end(), right.as_list().items.begin(), right.as_list().items.end());
  return Value::list(std::move(items), left.kind(), left.as_list().label);
}

}  // namespace

Value checked(bool overflows, std::int64_t value) {
  if (overflows) throw Fault("found a whole number of more than 64 bits, wanted a smaller one");
  return Value::integer(value);
}

Value binary(Interpreter& run, Operator op, const Value& left, const Value& right) {
  if (left.is_whole() && right.is_whole()) return on_integers(op, left.as_integer(), right.as_integer());
  if (left.is_numeric() && right.is_numeric()) return on_numbers(op, left.as_number(), right.as_number());
  if (op == Operator::add && left.kind() == right.kind() && is_sequence(left)) return joined(run, left, right);
  if (op == Operator::multiply && is_sequence(left) && right.is_whole()) return repeated(run, left, right.as_integer());
  if (op == Operator::multiply && is_sequence(right) && left.is_whole()) return repeated(run, right, left.as_integer());
  if (op == Operator::modulo && left.is_safe()) throw Fault("found % on a text that is marked safe, wanted it before `safe`");
  if (op == Operator::modulo && left.is_text()) return percent_format(run, left.as_text(), right);
  refuse_types(op, left, right);
}

Value numeric(const Value& value) {
  if (value.is_undefined()) throw Fault(value.why_undefined());
  if (!value.is_numeric()) throw Fault("found a " + value.type_name() + " behind a sign, wanted a number");
  return value.is(Kind::boolean) ? Value::integer(value.as_integer()) : value;
}

Value negated(const Value& value) {
  const Value number = numeric(value);
  if (number.is(Kind::number)) return Value::number(-number.as_number());
  std::int64_t out = 0;
  const bool overflows = __builtin_sub_overflow(std::int64_t{0}, number.as_integer(), &out);
  return checked(overflows, out);
}

bool is_nan(const Value& left, const Value& right) {
  const auto odd = [](const Value& value) { return value.is(Kind::number) && std::isnan(value.as_number()); };
  return odd(left) || odd(right);
}

bool contains(Interpreter& run, const Value& hay, const Value& needle) {
  if (hay.is_text()) {
    if (needle.is_undefined()) throw Fault(needle.why_undefined());
    if (!needle.is_text()) throw Fault("found a " + needle.type_name() + " in a str, wanted a str");
    run.spend_bytes(hay.as_text().size() + needle.as_text().size());
    return find_first(hay.bytes(), needle.bytes()) != std::string::npos;
  }
  if (hay.is_dict()) {
    run.spend(needle.extent().weight);
    return hay.as_dict().find(needle) != nullptr;
  }
  const std::vector<Value> items = run.items_of(hay);
  return std::any_of(items.begin(), items.end(), [&](const Value& item) { return run.same(item, needle); });
}

std::optional<Value> item_at(Interpreter& run, const Value& value, std::int64_t index) {
  if (value.is(Kind::list) || value.is(Kind::tuple) || (value.is(Kind::view) && value.type_name() == "range")) {
    const auto& items = value.as_list().items;
    const std::int64_t at = index < 0 ? index + std::ssize(items) : index;
    if (at < 0 || at >= std::ssize(items)) return std::nullopt;
    return items[static_cast<std::size_t>(at)];
  }
  if (!value.is_text()) return std::nullopt;
  const OriginText& text = value.as_text();
  run.spend_bytes(text.size());
  const std::int64_t at = index < 0 ? index + static_cast<std::int64_t>(count_characters(text.bytes())) : index;
  if (at < 0) return std::nullopt;
  const std::size_t byte = byte_of_character(text.bytes(), static_cast<std::size_t>(at));
  if (byte >= text.size()) return std::nullopt;
  const std::size_t bytes = first_character(std::string_view(text.bytes()).substr(byte)).bytes;
  return like(value, Value::text(text.slice(byte, byte + bytes)));
}

Value slice(Interpreter& run, const Value& value, const Value& begin, const Value& end, const Value& step) {
  if (value.is_undefined()) throw Fault(value.why_undefined());
  const bool is_range = value.is(Kind::view) && value.type_name() == "range";
  if (!is_sequence(value) && !is_range) throw Fault("found a slice of a " + value.type_name() + ", wanted a list or a str");
  for (const Value* bound : {&begin, &end, &step}) {
    if (!bound->is_whole() && !bound->is(Kind::none))
      throw Fault("found a " + bound->type_name() + " in a slice, wanted a whole number");
  }
  if (step.is_whole() && step.as_integer() == 0) throw Fault("found a slice with step 0, wanted another");
  std::vector<Value> characters;
  if (value.is_text()) characters = run.items_of(value);
  const std::vector<Value>& items = value.is_text() ? characters : value.as_list().items;
  const std::int64_t size = std::ssize(items);
  const std::int64_t by = step.is(Kind::none) ? 1 : std::clamp(step.as_integer(), -size - 1, size + 1);
  const std::int64_t first = by < 0 ? -1 : 0, last = by < 0 ? size - 1 : size;
  const auto place = [&](const Value& bound, std::int64_t otherwise) {
    if (bound.is(Kind::none)) return otherwise;
    const std::int64_t at = bound.as_integer() < 0 ? bound.as_integer() + size : bound.as_integer();
    return std::clamp(at, first, last);
  };
  const std::int64_t from = place(begin, by < 0 ? last : 0), to = place(end, by < 0 ? -1 : last);
  std::vector<Value> chosen;
  const std::int64_t count = by > 0 ? (to - from + by - 1) / by : (from - to - by - 1) / -by;
  for (std::int64_t i = 0, at = from; i < count; ++i, at += by) chosen.push_back(items[static_cast<std::size_t>(at)]);
  run.spend(chosen.size());
  if (!value.is_text()) return Value::list(std::move(chosen), value.kind(), value.as_list().label);
  OriginText text;
  for (const Value& character : chosen) text.append(character.as_text());
  return like(value, Value::text(std::move(text)));
}

}  // namespace qjl::engine::jinja
