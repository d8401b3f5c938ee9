// What stands behind `is`.
#include <array>

#include "call.hpp"
#include "operators.hpp"
#include "text_operations.hpp"

namespace qjl::engine::jinja {
namespace {

using Kind = Value::Kind;

template <Kind kind>
Value is_kind(Call& call) {
  return Value::boolean(call.self.is(kind));
}

Value is_defined(Call& call) { return Value::boolean(!call.self.is_undefined()); }
Value is_number(Call& call) { return Value::boolean(call.self.is_numeric()); }
Value is_true(Call& call) { return Value::boolean(call.self.is(Kind::boolean) && call.self.as_bool()); }
Value is_false(Call& call) { return Value::boolean(call.self.is(Kind::boolean) && !call.self.as_bool()); }
// Undefined values are: jinja2's have a call that refuses.
Value is_callable(Call& call) {
  return Value::boolean(call.self.is_undefined() || (call.self.is(Kind::object) && call.self.as_object()->callable()));
}
Value is_escaped(Call&) { return Value::boolean(false); }

Value is_iterable(Call& call) {
  return Value::boolean(call.self.is_undefined() || call.self.is_text() || call.self.is_dict() || call.self.has_items());
}

Value is_sequence(Call& call) {
  const Value& value = call.self;
  const bool view = value.is(Kind::view) && value.type_name() != "range";
  return Value::boolean(!value.is(Kind::generator) && !view && is_iterable(call).truth());
}

template <std::int64_t rest>
Value is_parity(Call& call) {
  return Value::boolean(equal(binary(call.run, Operator::modulo, call.self, Value::integer(2)), Value::integer(rest)));
}

Value is_divisible(Call& call) {
  return Value::boolean(equal(binary(call.run, Operator::modulo, call.self, call.at(0)), Value::integer(0)));
}

Value equals(Call& call) { return Value::boolean(call.run.same(call.self, call.at(0))); }
Value differs(Call& call) { return Value::boolean(!call.run.same(call.self, call.at(0))); }
Value is_less(Call& call) { return Value::boolean(call.run.before(call.self, call.at(0))); }
Value is_greater(Call& call) { return Value::boolean(call.run.before(call.at(0), call.self)); }
Value is_at_most(Call& call) { return Value::boolean(!is_nan(call.self, call.at(0)) && !call.run.before(call.at(0), call.self)); }
Value is_at_least(Call& call) { return Value::boolean(!is_nan(call.self, call.at(0)) && !call.run.before(call.self, call.at(0))); }
Value is_in(Call& call) { return Value::boolean(contains(call.run, call.at(0), call.self)); }

Value is_same(Call& call) {
  const Value &left = call.self, &right = call.at(0);
  if (left.kind() != right.kind()) return Value::boolean(false);
  const bool simple = left.is(Kind::none) || left.is_numeric();
  return Value::boolean(simple ? equal(left, right) : left.identity() == right.identity());
}

// As str(value).islower(): a letter of that case, and none of the other.
template <bool (*wanted)(char32_t), bool (*other)(char32_t)>
Value is_case(Call& call) {
  const OriginText text = call.run.print(call.self);
  bool found = false;
  for (std::string_view rest = text.bytes(); !rest.empty(); rest.remove_prefix(first_character(rest).bytes)) {
    const char32_t code = first_character(rest).code;
    if (other(code) || is_title(code)) return Value::boolean(false);
    found = found || wanted(code);
  }
  return Value::boolean(found);
}

Value is_filter(Call& call) {
  if (!call.self.is_text()) return Value::boolean(false);
  const auto& name = call.self.bytes();
  return Value::boolean(find_builtin(text_filters(), name) != nullptr || find_builtin(list_filters(), name) != nullptr);
}

Value is_test(Call& call) { return Value::boolean(call.self.is_text() && find_builtin(tests(), call.self.bytes()) != nullptr); }

constexpr std::array<Builtin, 39> kTests = {{
    {"!=", "other", differs},
    {"<", "other", is_less},
    {"<=", "other", is_at_most},
    {"==", "other", equals},
    {">", "other", is_greater},
    {">=", "other", is_at_least},
    {"boolean", "", is_kind<Kind::boolean>},
    {"callable", "", is_callable},
    {"defined", "", is_defined},
    {"divisibleby", "num", is_divisible},
    {"eq", "other", equals},
    {"equalto", "other", equals},
    {"escaped", "", is_escaped},
    {"even", "", is_parity<0>},
    {"false", "", is_false},
    {"filter", "", is_filter},
    {"float", "", is_kind<Kind::number>},
    {"ge", "other", is_at_least},
    {"greaterthan", "other", is_greater},
    {"gt", "other", is_greater},
    {"in", "seq", is_in},
    {"integer", "", is_kind<Kind::integer>},
    {"iterable", "", is_iterable},
    {"le", "other", is_at_most},
    {"lessthan", "other", is_less},
    {"lower", "", is_case<is_lower, is_upper>},
    {"lt", "other", is_less},
    {"mapping", "", is_kind<Kind::dict>},
    {"ne", "other", differs},
    {"none", "", is_kind<Kind::none>},
    {"number", "", is_number},
    {"odd", "", is_parity<1>},
    {"sameas", "other", is_same},
    {"sequence", "", is_sequence},
    {"string", "", is_kind<Kind::text>},
    {"test", "", is_test},
    {"true", "", is_true},
    {"undefined", "", is_kind<Kind::undefined>},
    {"upper", "", is_case<is_upper, is_lower>},
}};

}  // namespace

std::span<const Builtin> tests() { return kTests; }

}  // namespace qjl::engine::jinja
