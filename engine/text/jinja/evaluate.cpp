// Expressions.
#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "builtins/call.hpp"
#include "characters.hpp"
#include "interpreter.hpp"
#include "objects.hpp"
#include "operators.hpp"
#include "printable.hpp"

namespace qjl::engine::jinja {

using Kind = Expression::Kind;
using ValueKind = Value::Kind;

Value Interpreter::evaluate(const Expression& expression) {
  const Descent level(*this);
  spend(1);
  line_ = expression.line;
  return evaluate_inside(expression);
}

std::vector<Value> Interpreter::evaluate_all(const std::vector<ExpressionPtr>& parts) {
  std::vector<Value> values;
  for (const ExpressionPtr& part : parts) values.push_back(evaluate(*part));
  return values;
}

Value Interpreter::evaluate_inside(const Expression& expression) {
  const auto part = [&](std::size_t i) { return evaluate(*expression.parts[i]); };
  switch (expression.kind) {
    case Kind::constant: return expression.constant;
    case Kind::name: return evaluate_name(expression);
    case Kind::list: return Value::list(evaluate_all(expression.parts));
    case Kind::tuple: return Value::tuple(evaluate_all(expression.parts));
    case Kind::dict: return evaluate_dict(expression);
    case Kind::negative: return negated(part(0));
    case Kind::positive: return numeric(part(0));
    case Kind::negation: return Value::boolean(!part(0).truth());
    case Kind::conjunction: {
      Value left = part(0);
      return left.truth() ? part(1) : left;
    }
    case Kind::disjunction: {
      Value left = part(0);
      return left.truth() ? left : part(1);
    }
    case Kind::binary: {
      const Value left = part(0);
      return binary(*this, expression.op, left, part(1));
    }
    case Kind::join: return evaluate_join(expression);
    case Kind::compare: return evaluate_compare(expression);
    case Kind::conditional: return evaluate_conditional(expression);
    case Kind::attribute: return attribute(part(0), expression.name);
    case Kind::item: {
      const Value value = part(0);
      return item(value, part(1));
    }
    case Kind::slice: return evaluate_slice(expression);
    case Kind::call: return evaluate_call(expression, nullptr);
    case Kind::filter: return evaluate_filters(expression, nullptr);
    case Kind::test: {
      const Value value = part(0);
      return Value::boolean(test(expression.name, value, evaluate_arguments(*expression.call)));
    }
  }
  return {};
}

Value Interpreter::evaluate_name(const Expression& expression) {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->outer.get()) {
    spend_bytes(expression.name.size());
    const auto found = scope->names.find(expression.name);
    if (found != scope->names.end()) return found->second;
  }
  return Value::undefined("'" + expression.name + "' is undefined");
}

Value Interpreter::evaluate_dict(const Expression& expression) {
  Dict dict;
  for (std::size_t i = 0; i < expression.parts.size(); i += 2) {
    Value key = evaluate(*expression.parts[i]);
    spend(key.extent().weight);
    dict.set(std::move(key), evaluate(*expression.parts[i + 1]));
  }
  return Value::dict(std::move(dict));
}

Value Interpreter::evaluate_join(const Expression& expression) {
  OriginText joined;
  for (const ExpressionPtr& part : expression.parts) joined.append(print(evaluate(*part)));
  return Value::text(std::move(joined));
}

Value Interpreter::evaluate_conditional(const Expression& expression) {
  if (evaluate(*expression.parts[1]).truth()) return evaluate(*expression.parts[0]);
  if (expression.parts[2]) return evaluate(*expression.parts[2]);
  return Value::undefined("the inline if-expression evaluated to false and no else section was defined");
}

Value Interpreter::evaluate_compare(const Expression& expression) {
  Value left = evaluate(*expression.parts[0]);
  for (std::size_t i = 0; i < expression.comparisons.size(); ++i) {
    Value right = evaluate(*expression.parts[i + 1]);
    if (!compare(expression.comparisons[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

bool Interpreter::compare(Comparison comparison, const Value& left, const Value& right) {
  switch (comparison) {
    case Comparison::equal: return same(left, right);
    case Comparison::unequal: return !same(left, right);
    case Comparison::less: return before(left, right);
    case Comparison::less_equal: return !is_nan(left, right) && !before(right, left);
    case Comparison::greater: return before(right, left);
    case Comparison::greater_equal: return !is_nan(left, right) && !before(left, right);
    case Comparison::in: return contains(*this, right, left);
    case Comparison::not_in: return !contains(*this, right, left);
  }
  return false;
}

Value Interpreter::evaluate_slice(const Expression& expression) {
  const Value value = evaluate(*expression.parts[0]);
  const auto bound = [&](std::size_t i) { return expression.parts[i] ? evaluate(*expression.parts[i]) : Value(); };
  const Value begin = bound(1), end = bound(2);
  return slice(*this, value, begin, end, bound(3));
}

Arguments Interpreter::evaluate_arguments(const CallSyntax& syntax) {
  Arguments arguments;
  arguments.positional = evaluate_all(syntax.positional);
  for (const auto& [name, value] : syntax.named) {
    spend_bytes(name.size());
    arguments.named.emplace_back(Value::text(name), evaluate(*value));
  }
  if (syntax.list) {
    for (Value& item : items_of(evaluate(*syntax.list))) arguments.positional.push_back(std::move(item));
  }
  if (syntax.dict) {
    const Value dict = evaluate(*syntax.dict);
    if (!dict.is_dict()) throw Fault("found a " + dict.type_name() + " after **, wanted a dict");
    spend(dict.as_dict().items.size());
    for (const auto& [key, value] : dict.as_dict().items) {
      if (!key.is_text()) throw Fault("found a " + key.type_name() + " as an argument's name, wanted a str");
      arguments.named.emplace_back(key, value);
    }
  }
  return arguments;
}

Value Interpreter::evaluate_call(const Expression& expression, const Value* caller) {
  const Expression& callee = *expression.parts[0];
  Value function;
  if (callee.kind == Kind::attribute) {
    const Value self = evaluate(*callee.parts[0]);
    if (const Builtin* method = find_method(self, callee.name)) {
      const Arguments arguments = evaluate_arguments(*expression.call);
      line_ = expression.line;
      return run_method(*this, *method, self, arguments);
    }
    function = attribute(self, callee.name);
  } else {
    function = evaluate(callee);
  }
  Arguments arguments = evaluate_arguments(*expression.call);
  if (caller != nullptr) arguments.named.emplace_back(Value::text("caller"), *caller);
  line_ = expression.line;
  return call(function, arguments);
}

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  if (callee.is_undefined()) throw Fault(callee.why_undefined());
  if (!callee.is(ValueKind::object) || !callee.as_object()->callable()) {
    throw Fault("found a call of a " + callee.type_name() + ", wanted a function");
  }
  return callee.as_object()->call(*this, arguments);
}

Value Interpreter::evaluate_filters(const Expression& expression, const Value* block_text) {
  Value value;
  if (expression.parts[0] == nullptr) {
    value = *block_text;
  } else if (expression.parts[0]->kind == Kind::filter) {
    const Descent level(*this);
    value = evaluate_filters(*expression.parts[0], block_text);
  } else {
    value = evaluate(*expression.parts[0]);
  }
  spend(1);
  const Arguments arguments = evaluate_arguments(*expression.call);
  line_ = expression.line;
  return filter(expression.name, value, arguments);
}

Value Interpreter::filter(std::string_view name, const Value& value, const Arguments& arguments) {
  const Builtin* found = find_builtin(text_filters(), name);
  if (found == nullptr) found = find_builtin(list_filters(), name);
  if (found == nullptr) throw Fault("found the filter `" + std::string(name) + "`, which is not there");
  Call bound(*this, found->name, value, found->parameters, arguments);
  const Value made = found->run(bound);
  constexpr std::array<std::string_view, 7> kKeepMarks = {"capitalize", "center", "lower", "string", "title", "trim", "upper"};
  const bool keeps = value.is_safe() && std::find(kKeepMarks.begin(), kKeepMarks.end(), name) != kKeepMarks.end();
  if (value.is_safe() && (name == "replace" || name == "format" || name == "indent"))
    bound.fail("a text that is marked safe", "it before `safe`");
  return keeps ? made.marked_safe() : made;
}

bool Interpreter::test(std::string_view name, const Value& value, const Arguments& arguments) {
  const Builtin* found = find_builtin(tests(), name);
  if (found == nullptr) throw Fault("found the test `" + std::string(name) + "`, which is not there");
  Call bound(*this, found->name, value, found->parameters, arguments);
  return found->run(bound).truth();
}

std::vector<Value> Interpreter::items_of(const Value& value) {
  if (value.is_undefined()) return {};
  if (value.has_items()) {
    const List& list = value.as_list();
    if (value.is(ValueKind::generator) && std::exchange(list.taken, true)) return {};
    spend(list.items.size());
    return list.items;
  }
  std::vector<Value> items;
  if (value.is_dict()) {
    spend(value.as_dict().items.size());
    for (const auto& row : value.as_dict().items) items.push_back(row.first);
    return items;
  }
  if (!value.is_text()) throw Fault("found a " + value.type_name() + " to go through, wanted a list, a dict or a str");
  const OriginText& text = value.as_text();
  for (std::size_t at = 0; at < text.size();) {
    spend(8);
    const std::size_t bytes = first_character(std::string_view(text.bytes()).substr(at)).bytes;
    items.push_back(Value::text(text.slice(at, at + bytes)));
    at += bytes;
  }
  return items;
}

// As `value.name` of Python, and where there is none as value[name].
Value Interpreter::attribute(const Value& value, std::string_view name) {
  spend_bytes(name.size());
  if (value.is_undefined()) throw Fault(value.why_undefined());
  if (const Builtin* method = find_method(value, name)) return Value::object(make<Method>(*method, value));
  if (value.is(ValueKind::object)) {
    if (auto found = value.as_object()->attribute(name)) return *found;
    if (value.type_name() == "loop" && (name == "cycle" || name == "changed")) {
      const auto which = name == "cycle" ? LoopMethod::Which::cycle : LoopMethod::Which::changed;
      return Value::object(make<LoopMethod>(static_cast<Loop&>(*value.as_object()), which));
    }
  } else if (value.is_dict()) {
    if (const Value* found = value.as_dict().find(name)) return *found;
  } else if (value.is(ValueKind::tuple) && value.type_name() == kGroup && (name == "grouper" || name == "list")) {
    return value.as_list().items[name == "list" ? 1 : 0];
  }
  return Value::undefined("'" + value.type_name() + " object' has no attribute '" + std::string(name) + "'");
}

// As value[key], and where there is none, for a str, as value.key.
Value Interpreter::item(const Value& value, const Value& key) {
  if (value.is_undefined()) throw Fault(value.why_undefined());
  if (value.is_dict()) {
    spend(key.extent().weight);
    const Value* found = is_key(key) ? value.as_dict().find(key) : nullptr;
    if (found != nullptr) return *found;
  } else if (key.is_whole()) {
    if (auto found = item_at(*this, value, key.as_integer())) return *found;
  }
  if (key.is_text() && (value.is(ValueKind::object) || find_method(value, key.bytes()) != nullptr))
    return attribute(value, key.bytes());
  const std::string shown = key.is_text()    ? printable(key.bytes())
                            : key.is_whole() ? std::to_string(key.as_integer())
                                             : key.type_name();
  return Value::undefined("'" + value.type_name() + " object' has no element " + shown);
}

std::optional<Value> Loop::attribute(std::string_view name) {
  const auto whole = [](std::size_t number) { return Value::integer(static_cast<std::int64_t>(number)); };
  if (name == "index") return whole(index_ + 1);
  if (name == "index0") return whole(index_);
  if (name == "first") return Value::boolean(index_ == 0);
  if (name == "last") return Value::boolean(index_ + 1 == items_.size());
  if (name == "length") return whole(items_.size());
  if (name == "revindex") return whole(items_.size() - index_);
  if (name == "revindex0") return whole(items_.size() - index_ - 1);
  if (name == "depth") return Value::integer(depth_ + 1);
  if (name == "depth0") return Value::integer(depth_);
  if (name == "previtem") return index_ > 0 ? items_[index_ - 1] : Value::undefined("there is no previous item");
  if (name == "nextitem") return index_ + 1 < items_.size() ? items_[index_ + 1] : Value::undefined("there is no next item");
  return std::nullopt;
}

Value Loop::call(Interpreter& run, const Arguments& arguments) {
  if (arguments.positional.size() != 1) throw Fault("`loop` found no list, wanted one to go through");
  return run.run_loop_again(statement_, outer_, arguments.positional[0], depth_ + 1);
}

Value Loop::cycle(const std::vector<Value>& among) const {
  if (among.empty()) throw Fault("`loop.cycle` found no arguments, wanted some");
  return among[index_ % among.size()];
}

bool Loop::changed(Interpreter& run, const Value& value) {
  if (last_seen_ && run.same(*last_seen_, value)) return false;
  last_seen_ = value;
  return true;
}

}  // namespace qjl::engine::jinja
