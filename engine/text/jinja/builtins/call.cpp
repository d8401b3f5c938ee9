// Binding: arguments without names in order, then those with names.
#include "call.hpp"

#include <algorithm>

#include "printable.hpp"

namespace qjl::engine::jinja {

Call::Call(Interpreter& interpreter, std::string_view name, Value value, std::string_view parameters, const Arguments& arguments)
    : run(interpreter), self(std::move(value)), name_(name) {
  while (!parameters.empty()) {
    const std::size_t end = std::min(parameters.find(' '), parameters.size());
    parameters_.push_back(parameters.substr(0, end));
    parameters.remove_prefix(std::min(end + 1, parameters.size()));
  }
  const bool takes_more = !parameters_.empty() && parameters_.back() == "*";
  if (takes_more) parameters_.pop_back();
  bound_.resize(parameters_.size());
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    if (i < bound_.size()) {
      bound_[i] = arguments.positional[i];
    } else if (takes_more) {
      rest.push_back(arguments.positional[i]);
    } else {
      fail(std::to_string(arguments.positional.size()) + " arguments", "at most " + std::to_string(bound_.size()));
    }
  }
  for (const auto& [given, argument] : arguments.named) {
    const auto place = std::find(parameters_.begin(), parameters_.end(), given.bytes());
    if (place != parameters_.end()) {
      auto& slot = bound_[static_cast<std::size_t>(place - parameters_.begin())];
      if (slot) fail("the argument " + printable(given.bytes()) + " twice", "it once");
      slot = argument;
    } else if (takes_more) {
      named.emplace_back(given, argument);
    } else {
      fail("the argument " + printable(given.bytes()), "another name");
    }
  }
}

void Call::fail(const std::string& found, const std::string& wanted) const {
  throw Fault("`" + std::string(name_) + "` found " + found + ", wanted " + wanted);
}

const Value& Call::at(std::size_t index) const {
  if (!bound_[index]) fail("no argument " + std::string(parameters_[index]), "one");
  return *bound_[index];
}

Value Call::get(std::size_t index, Value otherwise) const { return bound_[index] ? *bound_[index] : std::move(otherwise); }

std::int64_t Call::integer(std::size_t index) const {
  const Value& value = at(index);
  if (value.is_undefined()) throw Fault(value.why_undefined());
  if (!value.is_whole()) fail("a " + value.type_name() + " as " + std::string(parameters_[index]), "a whole number");
  return value.as_integer();
}

std::int64_t Call::integer(std::size_t index, std::int64_t otherwise) const { return has(index) ? integer(index) : otherwise; }

bool Call::flag(std::size_t index, bool otherwise) const { return bound_[index] ? bound_[index]->truth() : otherwise; }

const OriginText& Call::text(std::size_t index) const {
  const Value& value = at(index);
  if (value.is_undefined()) throw Fault(value.why_undefined());
  if (!value.is_text()) fail("a " + value.type_name() + " as " + std::string(parameters_[index]), "a str");
  return value.as_text();
}

Value run_method(Interpreter& run, const Builtin& method, const Value& self, const Arguments& arguments) {
  Call call(run, method.name, self, method.parameters, arguments);
  const bool inserts = method.name == "join" || method.name == "format" || method.name == "replace";
  if (self.is_safe() && inserts) call.fail("a text that is marked safe", "it before the filter `safe`");
  const Value made = method.run(call);
  return self.is_safe() && made.is_text() ? made.marked_safe() : made;
}

const Builtin* find_builtin(std::span<const Builtin> table, std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(), [name](const Builtin& row) { return row.name == name; });
  return found == table.end() ? nullptr : &*found;
}

const Builtin* find_method(const Value& value, std::string_view name) {
  if (value.is_text()) return find_builtin(text_methods(), name);
  if (value.is_dict()) return find_builtin(dict_methods(), name);
  if (value.is(Value::Kind::list) || value.is(Value::Kind::tuple)) return find_builtin(list_methods(), name);
  return nullptr;
}

}  // namespace qjl::engine::jinja
