// Statements. A scope is made for the body of a loop (one for each item), of a macro, of a captured block; not for {% if %}.
#include "interpreter.hpp"

#include <algorithm>

#include "builtins/call.hpp"
#include "objects.hpp"
#include "printer.hpp"

namespace qjl::engine::jinja {

using Kind = Statement::Kind;

Interpreter::Interpreter(std::tm now) : now_(now) {}

void Interpreter::spend(std::size_t steps) {
  if (steps > kMaxWork - work_) {
    work_ = kMaxWork;
    throw Fault("found more than " + std::to_string(kMaxWork) + " steps of work, wanted a template that ends sooner");
  }
  work_ += steps;
}

OriginText Interpreter::run(const Block& block, const Dict& given) {
  auto globals = std::make_shared<Scope>();
  for (const Builtin& row : functions()) globals->names[row.name] = Value::object(make<Function>(row));
  for (const auto& [name, value] : given.items) globals->names[name.bytes()] = value;
  scope_ = std::make_shared<Scope>(Scope{globals, {}});
  OriginText output;
  output_ = &output;
  run_block(block);
  return output;
}

Interpreter::Flow Interpreter::run_block(const Block& block) {
  const Descent level(*this);
  for (const Statement& statement : block) {
    if (const Flow flow = run_statement(statement); flow != Flow::go_on) return flow;
  }
  return Flow::go_on;
}

void Interpreter::print_to_output(const Value& value) {
  const Value text = value.is_text() ? value : Value::text(print(value));
  make_room(text.as_text().size());
  output_->append(text.as_text());
}

void Interpreter::make_room(std::size_t bytes) {
  spend_bytes(bytes);
  if (bytes > kMaxOutputBytes - output_->size()) {
    throw Fault("found more than " + std::to_string(kMaxOutputBytes) + " bytes of output, wanted at most that many");
  }
}

Interpreter::Flow Interpreter::run_statement(const Statement& statement) {
  spend(1);
  line_ = statement.line;
  switch (statement.kind) {
    case Kind::data:
      make_room(statement.name.size());
      output_->append(statement.name, Origin::markup);
      return Flow::go_on;
    case Kind::output: print_to_output(evaluate(*statement.value)); return Flow::go_on;
    case Kind::branches: return run_branches(statement);
    case Kind::loop: return run_loop(statement, evaluate(*statement.value), 0);
    case Kind::set: assign(*statement.target, evaluate(*statement.value)); return Flow::go_on;
    case Kind::set_block:
    case Kind::filter_block: {
      OriginText captured;
      const Flow flow = run_captured(statement.body, captured);
      if (flow != Flow::go_on) return flow;
      Value text = Value::text(std::move(captured));
      if (statement.value) text = evaluate_filters(*statement.value, &text);
      if (statement.kind == Kind::filter_block) {
        print_to_output(text);
      } else {
        assign(*statement.target, text);
      }
      return Flow::go_on;
    }
    case Kind::macro: scope_->names[statement.name] = Value::object(make<Macro>(statement, scope_)); return Flow::go_on;
    case Kind::call_block: run_call_block(statement); return Flow::go_on;
    case Kind::with: return run_with(statement);
    case Kind::scope: return run_inside(statement.body, std::make_shared<Scope>(Scope{scope_, {}}));
    case Kind::stop: return Flow::stop;
    case Kind::skip: return Flow::skip;
  }
  return Flow::go_on;
}

Interpreter::Flow Interpreter::run_branches(const Statement& statement) {
  for (const Branch& branch : statement.branches) {
    if (branch.condition == nullptr || evaluate(*branch.condition).truth()) return run_block(branch.body);
  }
  return Flow::go_on;
}

// Scope and output are not put back when a Fault passes: the prompt has failed.
Interpreter::Flow Interpreter::run_inside(const Block& block, std::shared_ptr<Scope> scope) {
  std::swap(scope_, scope);
  const Flow flow = run_block(block);
  scope_ = std::move(scope);
  return flow;
}

Interpreter::Flow Interpreter::run_captured(const Block& block, OriginText& captured) {
  OriginText* outside = std::exchange(output_, &captured);
  const Flow flow = run_inside(block, std::make_shared<Scope>(Scope{scope_, {}}));
  output_ = outside;
  return flow;
}

Interpreter::Flow Interpreter::run_with(const Statement& statement) {
  auto scope = std::make_shared<Scope>(Scope{scope_, {}});
  for (std::size_t i = 0; i < statement.parameters.names.size(); ++i) {
    spend_bytes(statement.parameters.names[i].size());
    scope->names[statement.parameters.names[i]] = evaluate(*statement.parameters.defaults[i]);
  }
  return run_inside(statement.body, std::move(scope));
}

void Interpreter::run_call_block(const Statement& statement) {
  const Value caller = Value::object(make<Macro>(statement, scope_));
  print_to_output(evaluate_call(*statement.value, &caller));
}

// The items that the loop's own `if` lets through.
std::vector<Value> Interpreter::chosen_items(const Statement& statement, const Value& over) {
  std::vector<Value> items = items_of(over);
  if (!statement.condition) return items;
  const std::shared_ptr<Scope> outside = scope_;
  std::vector<Value> chosen;
  for (Value& item : items) {
    scope_ = std::make_shared<Scope>(Scope{outside, {}});
    assign(*statement.target, item);
    if (evaluate(*statement.condition).truth()) chosen.push_back(std::move(item));
  }
  scope_ = outside;
  return chosen;
}

Interpreter::Flow Interpreter::run_loop(const Statement& statement, const Value& over, int depth) {
  std::vector<Value> items = chosen_items(statement, over);
  if (items.empty()) return run_inside(statement.otherwise, std::make_shared<Scope>(Scope{scope_, {}}));
  const std::shared_ptr<Scope> outside = scope_;
  spend(items.size());  // the loop keeps them until the prompt is made
  Loop* loop = make<Loop>(statement, outside, std::move(items), depth);
  Flow flow = Flow::go_on;
  for (std::size_t i = 0; i < loop->items().size() && flow != Flow::stop; ++i) {
    loop->go_to(i);
    scope_ = std::make_shared<Scope>(Scope{outside, {}});
    scope_->names["loop"] = Value::object(loop);
    assign(*statement.target, loop->items()[i]);
    flow = run_block(statement.body);
  }
  scope_ = outside;
  return Flow::go_on;
}

Value Interpreter::run_loop_again(const Statement& loop, const std::shared_ptr<Scope>& outer, const Value& over, int depth) {
  const Descent level(*this);
  OriginText captured;
  OriginText* outside = std::exchange(output_, &captured);
  const std::shared_ptr<Scope> scope = std::exchange(scope_, outer);
  run_loop(loop, over, depth);
  scope_ = scope;
  output_ = outside;
  return Value::text(std::move(captured));
}

Value Interpreter::run_macro(const Statement& macro, const std::shared_ptr<Scope>& closure, const Arguments& arguments) {
  const Descent level(*this);
  const auto& [names, defaults] = macro.parameters;
  const std::string called = "the macro " + (macro.name.empty() ? std::string("caller") : macro.name);
  auto scope = std::make_shared<Scope>(Scope{closure, {}});
  for (const std::string& name : names) spend_bytes(name.size());
  std::vector<Value> more;
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
    if (i < names.size()) {
      scope->names[names[i]] = arguments.positional[i];
    } else if (macro.takes_more) {
      more.push_back(arguments.positional[i]);
    } else {
      throw Fault(called + " found " + std::to_string(arguments.positional.size()) + " arguments, wanted at most " +
                  std::to_string(names.size()));
    }
  }
  Dict named;
  for (const auto& [word, value] : arguments.named) {
    const std::string& name = word.bytes();
    spend(names.size());
    const auto place = std::find(names.begin(), names.end(), name);
    if (place != names.end()) {
      scope->names[*place] = value;
    } else if (name == "caller" && macro.takes_caller) {
      scope->names["caller"] = value;
    } else if (macro.takes_named) {
      spend(word.extent().weight);
      named.set(word, value);
    } else {
      throw Fault(called + " found the argument `" + name + "`, wanted another name");
    }
  }
  OriginText captured;
  OriginText* outside = std::exchange(output_, &captured);
  const std::shared_ptr<Scope> scope_outside = std::exchange(scope_, scope);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (scope->names.count(names[i]) > 0) continue;
    const std::size_t first = names.size() - defaults.size();
    scope->names[names[i]] =
        i < first ? Value::undefined("parameter '" + names[i] + "' was not provided") : evaluate(*defaults[i - first]);
  }
  if (macro.takes_more) scope->names["varargs"] = Value::tuple(std::move(more));
  if (macro.takes_named) scope->names["kwargs"] = Value::dict(std::move(named));
  if (macro.takes_caller) scope->names.try_emplace("caller", Value::undefined("No caller defined"));
  run_block(macro.body);
  scope_ = scope_outside;
  output_ = outside;
  return Value::text(std::move(captured));
}

void Interpreter::assign(const Expression& target, const Value& value) {
  spend_bytes(target.name.size());
  if (target.kind == Expression::Kind::name) {
    scope_->names[target.name] = value;
  } else if (target.kind == Expression::Kind::attribute) {
    const Value space = evaluate(*target.parts[0]);
    const bool taken = space.is(Value::Kind::object) && space.as_object()->set_attribute(target.name, value);
    if (!taken) throw Fault("found an assignment to ." + target.name + " of a " + space.type_name() + ", wanted a namespace");
  } else {
    const std::vector<Value> items = items_of(value);
    if (items.size() != target.parts.size()) {
      throw Fault("found " + std::to_string(items.size()) + " values, wanted " + std::to_string(target.parts.size()) +
                  " to assign");
    }
    for (std::size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i]);
  }
}

OriginText Interpreter::print(const Value& value) { return Printer(*this).print(value); }

bool Interpreter::same(const Value& left, const Value& right) {
  spend(std::min(left.extent().weight, right.extent().weight));
  return equal(left, right);
}

bool Interpreter::before(const Value& left, const Value& right) {
  spend(std::min(left.extent().weight, right.extent().weight));
  return less(left, right);
}

}  // namespace qjl::engine::jinja
