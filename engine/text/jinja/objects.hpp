// The objects that a running template makes.
#pragma once

#include <memory>

#include "builtins/call.hpp"
#include "text_hash.hpp"

namespace qjl::engine::jinja {

class Function : public Object {
 public:
  explicit Function(const Builtin& builtin) : builtin_(builtin) {}
  std::string type_name() const override { return "function " + std::string(builtin_.name); }
  Value call(Interpreter& run, const Arguments& arguments) override {
    Call bound(run, builtin_.name, Value(), builtin_.parameters, arguments);
    return builtin_.run(bound);
  }

 private:
  const Builtin& builtin_;
};

class Method : public Object {
 public:
  Method(const Builtin& builtin, Value self) : builtin_(builtin), self_(std::move(self)) {}
  std::string type_name() const override { return "method " + std::string(builtin_.name); }
  Value call(Interpreter& run, const Arguments& arguments) override { return run_method(run, builtin_, self_, arguments); }

 private:
  const Builtin& builtin_;
  Value self_;
};

class Macro : public Object {
 public:
  Macro(const Statement& statement, std::shared_ptr<Scope> closure) : statement_(statement), closure_(std::move(closure)) {}
  std::string type_name() const override { return "macro"; }
  std::optional<Value> attribute(std::string_view name) override {
    if (name == "name") return Value::text(statement_.name);
    return std::nullopt;
  }
  Value call(Interpreter& run, const Arguments& arguments) override { return run.run_macro(statement_, closure_, arguments); }

 private:
  const Statement& statement_;
  std::shared_ptr<Scope> closure_;
};

// namespace(): the one thing of a template that changes.
class Namespace : public Object {
 public:
  std::string type_name() const override { return "namespace"; }
  bool callable() const override { return false; }
  std::optional<Value> attribute(std::string_view name) override {
    const auto found = values_.find(std::string(name));
    if (found == values_.end()) return std::nullopt;
    return found->second;
  }
  bool set_attribute(std::string_view name, const Value& value) override {
    if (name.starts_with('_'))
      throw Fault("found the attribute " + std::string(name) + " of a namespace, wanted one without the _ in front");
    values_[std::string(name)] = value;
    return true;
  }

 private:
  std::unordered_map<std::string, Value, TextHash> values_;
};

// `loop` inside of a {% for %}. A namespace may keep it: after the loop it tells what it told of the last item.
class Loop : public Object {
 public:
  Loop(const Statement& statement, std::shared_ptr<Scope> outer, std::vector<Value> items, int depth)
      : statement_(statement), outer_(std::move(outer)), items_(std::move(items)), depth_(depth) {}
  std::string type_name() const override { return "loop"; }
  std::optional<Value> attribute(std::string_view name) override;
  bool callable() const override { return statement_.recursive; }
  Value call(Interpreter& run, const Arguments& arguments) override;
  Value cycle(const std::vector<Value>& among) const;
  bool changed(Interpreter& run, const Value& value);
  const std::vector<Value>& items() const { return items_; }
  void go_to(std::size_t index) { index_ = index; }

 private:
  const Statement& statement_;
  std::shared_ptr<Scope> outer_;
  std::vector<Value> items_;
  std::size_t index_ = 0;
  int depth_;
  std::optional<Value> last_seen_;
};

// loop.cycle and loop.changed: methods of a loop.
class LoopMethod : public Object {
 public:
  enum class Which : std::uint8_t { cycle, changed };
  LoopMethod(Loop& loop, Which which) : loop_(loop), which_(which) {}
  std::string type_name() const override { return "method of loop"; }
  Value call(Interpreter& run, const Arguments& arguments) override {
    if (which_ == Which::cycle) return loop_.cycle(arguments.positional);
    return Value::boolean(loop_.changed(run, Value::tuple(arguments.positional)));
  }

 private:
  Loop& loop_;
  Which which_;
};

}  // namespace qjl::engine::jinja
