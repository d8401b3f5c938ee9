// What stands behind a value: attributes, subscripts, calls, filters, tests.
#include <algorithm>

#include "parse_expressions.hpp"

namespace qjl::engine::jinja {
namespace {

using Kind = Expression::Kind;
using TokenKind = Token::Kind;

std::vector<ExpressionPtr> one(ExpressionPtr part) {
  std::vector<ExpressionPtr> parts;
  parts.push_back(std::move(part));
  return parts;
}

}  // namespace

ExpressionPtr ExpressionParser::postfix(ExpressionPtr value) {
  for (;;) {
    if (tokens_.is_sign(".") || tokens_.is_sign("[")) {
      value = subscript(std::move(value));
    } else if (tokens_.is_sign("(")) {
      value = call_of(std::move(value));
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr value) {
  for (;;) {
    if (tokens_.take_sign("|")) {
      value = filter_chain(std::move(value));
    } else if (tokens_.is_name("is")) {
      value = test(std::move(value));
    } else if (tokens_.is_sign("(")) {
      value = call_of(std::move(value));
    } else {
      return value;
    }
  }
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr value) {
  const Token sign = tokens_.take();
  if (sign.text == "[") {
    ExpressionPtr node = one_subscript(value);
    node->parts[0] = std::move(value);
    tokens_.want_sign("]");
    return node;
  }
  if (tokens_.is(TokenKind::integer)) {
    std::vector<ExpressionPtr> parts = one(std::move(value));
    parts.push_back(primary());
    return make(Kind::item, sign.line, std::move(parts));
  }
  ExpressionPtr node = make(Kind::attribute, sign.line, one(std::move(value)));
  node->name = tokens_.want_any_name("a name");
  return node;
}

// [a] or [a:b:c], with parts[0] left to the caller; the depth counts it.
ExpressionPtr ExpressionParser::one_subscript(const ExpressionPtr& value) {
  const int line = tokens_.line();
  std::vector<ExpressionPtr> parts(1);
  const auto part = [&] {
    const bool empty = tokens_.is_sign(":") || tokens_.is_sign("]");
    parts.push_back(empty ? nullptr : expression());
  };
  part();
  const bool is_slice = tokens_.is_sign(":");
  while (parts.size() < 4 && tokens_.take_sign(":")) part();
  if (!is_slice && parts[1] == nullptr) tokens_.refuse_now("a subscript");
  if (is_slice) parts.resize(4);
  ExpressionPtr node = make(is_slice ? Kind::slice : Kind::item, line, std::move(parts));
  node->depth = std::max(node->depth, value->depth + 1);
  if (node->depth > kMaxNesting) refuse(line, "an expression deeper than " + std::to_string(kMaxNesting), "less");
  return node;
}

std::unique_ptr<CallSyntax> ExpressionParser::arguments(int& depth) {
  auto call = std::make_unique<CallSyntax>();
  const auto argument = [&] {
    ExpressionPtr value = expression();
    depth = std::max(depth, value->depth + 1);
    return value;
  };
  tokens_.want_sign("(");
  bool first = true;
  while (!tokens_.is_sign(")")) {
    if (!first) tokens_.want_sign(",");
    first = false;
    if (tokens_.is_sign(")")) break;
    if (tokens_.take_sign("**")) {
      call->dict = argument();
    } else if (tokens_.take_sign("*")) {
      call->list = argument();
    } else if (tokens_.is(TokenKind::name) && tokens_.next_is_sign("=")) {
      std::string name = tokens_.take().text;
      tokens_.take();
      call->named.emplace_back(std::move(name), argument());
    } else {
      if (!call->named.empty() || call->dict) tokens_.refuse_now("arguments without a name before those with one");
      call->positional.push_back(argument());
    }
  }
  tokens_.want_sign(")");
  return call;
}

ExpressionPtr ExpressionParser::call_of(ExpressionPtr value) {
  const int line = tokens_.line();
  ExpressionPtr node = make(Kind::call, line, one(std::move(value)));
  node->call = arguments(node->depth);
  return node;
}

std::string ExpressionParser::dotted_name(const char* wanted) {
  std::string name = tokens_.want_any_name(wanted);
  while (tokens_.take_sign(".")) name += "." + tokens_.want_any_name(wanted);
  return name;
}

ExpressionPtr ExpressionParser::filter_chain(ExpressionPtr value) {
  for (;;) {
    const int line = tokens_.line();
    ExpressionPtr node = make(Kind::filter, line, one(std::move(value)));
    node->name = dotted_name("a filter");
    node->call = tokens_.is_sign("(") ? arguments(node->depth) : std::make_unique<CallSyntax>();
    value = std::move(node);
    if (!tokens_.take_sign("|")) return value;
  }
}

// `is name`, `is name(arguments)`, `is name argument`, each also with `not`.
ExpressionPtr ExpressionParser::test(ExpressionPtr value) {
  const int line = tokens_.take().line;
  const bool negated = tokens_.take_name("not");
  ExpressionPtr node = make(Kind::test, line, one(std::move(value)));
  node->name = dotted_name("a test");
  node->call = std::make_unique<CallSyntax>();
  const bool value_follows = tokens_.is(TokenKind::string) || tokens_.is(TokenKind::integer) || tokens_.is(TokenKind::number) ||
                             tokens_.is_sign("[") || tokens_.is_sign("{");
  const bool name_follows =
      tokens_.is(TokenKind::name) && !tokens_.is_name("else") && !tokens_.is_name("or") && !tokens_.is_name("and");
  if (tokens_.is_sign("(")) {
    node->call = arguments(node->depth);
  } else if (value_follows || name_follows) {
    if (tokens_.is_name("is")) tokens_.refuse_now("one test: a value is not tested by a test");
    node->call->positional.push_back(postfix(primary()));
    node->depth = std::max(node->depth, node->call->positional[0]->depth + 1);
  }
  return negated ? make(Kind::negation, line, one(std::move(node))) : std::move(node);
}

ExpressionPtr ExpressionParser::target(bool with_attribute) {
  const int line = tokens_.line();
  if (with_attribute && tokens_.is(TokenKind::name) && tokens_.next_is_sign(".")) {
    ExpressionPtr space = make(Kind::name, line);
    space->name = tokens_.take().text;
    tokens_.take();
    ExpressionPtr node = make(Kind::attribute, line, one(std::move(space)));
    node->name = tokens_.want_any_name("a name");
    return node;
  }
  const TokenStream::Level level(tokens_);
  std::vector<ExpressionPtr> parts;
  bool is_tuple = false;
  do {
    if (is_tuple && (tokens_.is_name("in") || tokens_.is_sign("=") || tokens_.is_sign(")"))) break;
    if (tokens_.take_sign("(")) {
      parts.push_back(target(false));
      tokens_.want_sign(")");
    } else {
      ExpressionPtr name = make(Kind::name, tokens_.line());
      name->name = tokens_.want_any_name("a name to assign to");
      parts.push_back(std::move(name));
    }
    is_tuple = is_tuple || tokens_.is_sign(",");
  } while (tokens_.take_sign(","));
  return is_tuple ? make(Kind::tuple, line, std::move(parts)) : std::move(parts[0]);
}

}  // namespace qjl::engine::jinja
