// The half of the parser that reads expressions.
#pragma once

#include <set>

#include "syntax.hpp"
#include "token_stream.hpp"

namespace qjl::engine::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  ExpressionPtr expression();  // with `a if b else c`
  // a, b, c: a tuple where a comma stands. `in_condition`: of {% if %} and of {% for %}, where `if` has another meaning.
  enum class Ternary : std::uint8_t { allowed, no };
  ExpressionPtr tuple(Ternary ternary = Ternary::allowed);
  ExpressionPtr primary();
  ExpressionPtr postfix(ExpressionPtr value);
  ExpressionPtr filters(ExpressionPtr value);       // what follows `|` and `is`
  ExpressionPtr filter_chain(ExpressionPtr value);  // name(...) | name(...): the first without its bar
  ExpressionPtr target(bool with_attribute);        // what `for` and `set` assign to
  std::set<std::string, std::less<>> names_used;    // since the caller emptied it: varargs, kwargs, caller

 private:
  ExpressionPtr make(Expression::Kind kind, int line, std::vector<ExpressionPtr> parts = {}) const;
  ExpressionPtr disjunction();
  ExpressionPtr conjunction();
  ExpressionPtr negation();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr join();
  ExpressionPtr product();
  ExpressionPtr power();
  enum class Filters : std::uint8_t { follow, no };
  ExpressionPtr unary(Filters filters);
  ExpressionPtr parenthesis();
  ExpressionPtr list();
  ExpressionPtr dict();
  ExpressionPtr subscript(ExpressionPtr value);
  ExpressionPtr one_subscript(const ExpressionPtr& value);
  ExpressionPtr test(ExpressionPtr value);
  ExpressionPtr call_of(ExpressionPtr value);
  std::unique_ptr<CallSyntax> arguments(int& depth);
  std::string dotted_name(const char* wanted);
  bool tuple_ends() const;

  TokenStream& tokens_;
};

}  // namespace qjl::engine::jinja
