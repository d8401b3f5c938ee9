// Recursive descent, from the loosest binding to the tightest: if-else, or, and, not, comparisons, + -, ~, * / // %, **, signs,
// then attributes, subscripts and calls, then filters and tests. `**` goes from left to right and `~` binds tighter than `+`, as
// in jinja2.
#include "parse_expressions.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "printable.hpp"
#include "qjl/error.hpp"

namespace qjl::engine::jinja {
namespace {

using Kind = Expression::Kind;
using TokenKind = Token::Kind;

ExpressionPtr constant(Value value, int line) {
  auto node = std::make_unique<Expression>(Expression{.kind = Kind::constant, .line = line});
  node->constant = std::move(value);
  return node;
}

std::string without_underscores(std::string text) {
  std::erase(text, '_');
  return text;
}

Value integer_value(const Token& token) {
  const std::string digits = without_underscores(token.text);
  const char letter = digits.size() > 2 && digits[0] == '0' ? static_cast<char>(digits[1] | 0x20) : ' ';
  const int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
  const char* begin = digits.data() + (base == 10 ? 0 : 2);
  const char* end = digits.data() + digits.size();
  std::int64_t value = 0;
  const auto [stop, error] = std::from_chars(begin, end, value, base);
  if (error != std::errc() || stop != end) refuse(token.line, "the number " + printable(token.text), "one of 64 bits");
  return Value::integer(value);
}

Value number_value(const Token& token) {
  const std::string digits = without_underscores(token.text);
  double value = 0;
  const auto error = std::from_chars(digits.data(), digits.data() + digits.size(), value).ec;
  if (error != std::errc()) refuse(token.line, "the number " + printable(token.text), "one in the range of doubles");
  return Value::number(value);
}

struct Sign {
  std::string_view text;
  Operator op;
};
constexpr std::array<Sign, 2> kSums = {{{"+", Operator::add}, {"-", Operator::subtract}}};
constexpr std::array<Sign, 4> kProducts = {
    {{"*", Operator::multiply}, {"/", Operator::divide}, {"//", Operator::floor_divide}, {"%", Operator::modulo}}};
constexpr std::array<Sign, 1> kPowers = {{{"**", Operator::power}}};

template <std::size_t size>
const Sign* find_sign(const std::array<Sign, size>& signs, const TokenStream& tokens) {
  const auto found = std::find_if(signs.begin(), signs.end(), [&](const Sign& sign) { return tokens.is_sign(sign.text); });
  return found == signs.end() ? nullptr : &*found;
}

template <typename... Part>
std::vector<ExpressionPtr> parts_of(Part... part) {
  std::vector<ExpressionPtr> parts;
  (parts.push_back(std::move(part)), ...);
  return parts;
}

}  // namespace

ExpressionPtr ExpressionParser::make(Kind kind, int line, std::vector<ExpressionPtr> parts) const {
  int depth = 0;
  for (const ExpressionPtr& part : parts) depth = std::max(depth, part ? part->depth : 0);
  if (depth >= kMaxNesting) refuse(line, "an expression deeper than " + std::to_string(kMaxNesting), "less");
  auto node = std::make_unique<Expression>(Expression{.kind = kind, .line = line, .depth = depth + 1});
  node->parts = std::move(parts);
  return node;
}

ExpressionPtr ExpressionParser::expression() {
  const TokenStream::Level level(tokens_);
  ExpressionPtr value = disjunction();
  while (tokens_.is_name("if")) {
    const int line = tokens_.take().line;
    ExpressionPtr condition = disjunction();
    ExpressionPtr otherwise = tokens_.take_name("else") ? expression() : nullptr;
    value = make(Kind::conditional, line, parts_of(std::move(value), std::move(condition), std::move(otherwise)));
  }
  return value;
}

ExpressionPtr ExpressionParser::disjunction() {
  ExpressionPtr left = conjunction();
  while (tokens_.is_name("or")) {
    const int line = tokens_.take().line;
    left = make(Kind::disjunction, line, parts_of(std::move(left), conjunction()));
  }
  return left;
}

ExpressionPtr ExpressionParser::conjunction() {
  ExpressionPtr left = negation();
  while (tokens_.is_name("and")) {
    const int line = tokens_.take().line;
    left = make(Kind::conjunction, line, parts_of(std::move(left), negation()));
  }
  return left;
}

ExpressionPtr ExpressionParser::negation() {
  const TokenStream::Level level(tokens_);
  if (!tokens_.is_name("not")) return comparison();
  const int line = tokens_.take().line;
  return make(Kind::negation, line, parts_of(negation()));
}

ExpressionPtr ExpressionParser::comparison() {
  constexpr std::array<std::pair<std::string_view, Comparison>, 6> kComparisons = {{{"==", Comparison::equal},
                                                                                    {"!=", Comparison::unequal},
                                                                                    {"<", Comparison::less},
                                                                                    {"<=", Comparison::less_equal},
                                                                                    {">", Comparison::greater},
                                                                                    {">=", Comparison::greater_equal}}};
  const int line = tokens_.line();
  std::vector<ExpressionPtr> parts = parts_of(sum());
  std::vector<Comparison> comparisons;
  for (;;) {
    const auto* found =
        std::find_if(kComparisons.begin(), kComparisons.end(), [&](const auto& row) { return tokens_.is_sign(row.first); });
    if (found != kComparisons.end()) {
      comparisons.push_back(found->second);
    } else if (tokens_.is_name("in")) {
      comparisons.push_back(Comparison::in);
    } else if (tokens_.is_name("not") && tokens_.next_is_name("in")) {
      tokens_.take();
      comparisons.push_back(Comparison::not_in);
    } else {
      break;
    }
    tokens_.take();
    parts.push_back(sum());
  }
  if (comparisons.empty()) return std::move(parts[0]);
  ExpressionPtr node = make(Kind::compare, line, std::move(parts));
  node->comparisons = std::move(comparisons);
  return node;
}

ExpressionPtr ExpressionParser::sum() {
  ExpressionPtr left = join();
  while (const Sign* sign = find_sign(kSums, tokens_)) {
    const int line = tokens_.take().line;
    left = make(Kind::binary, line, parts_of(std::move(left), join()));
    left->op = sign->op;
  }
  return left;
}

ExpressionPtr ExpressionParser::join() {
  const int line = tokens_.line();
  std::vector<ExpressionPtr> parts = parts_of(product());
  while (tokens_.take_sign("~")) parts.push_back(product());
  return parts.size() == 1 ? std::move(parts[0]) : make(Kind::join, line, std::move(parts));
}

ExpressionPtr ExpressionParser::product() {
  ExpressionPtr left = power();
  while (const Sign* sign = find_sign(kProducts, tokens_)) {
    const int line = tokens_.take().line;
    left = make(Kind::binary, line, parts_of(std::move(left), power()));
    left->op = sign->op;
  }
  return left;
}

ExpressionPtr ExpressionParser::power() {
  ExpressionPtr left = unary(Filters::follow);
  while (const Sign* sign = find_sign(kPowers, tokens_)) {
    const int line = tokens_.take().line;
    left = make(Kind::binary, line, parts_of(std::move(left), unary(Filters::follow)));
    left->op = sign->op;
  }
  return left;
}

ExpressionPtr ExpressionParser::unary(Filters follow) {
  const TokenStream::Level level(tokens_);
  ExpressionPtr value;
  if (tokens_.is_sign("-") || tokens_.is_sign("+")) {
    const Token sign = tokens_.take();
    value = make(sign.text == "-" ? Kind::negative : Kind::positive, sign.line, parts_of(unary(Filters::no)));
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return follow == Filters::follow ? filters(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::primary() {
  const TokenStream::Level level(tokens_);
  if (tokens_.is_sign("(")) return parenthesis();
  if (tokens_.is_sign("[")) return list();
  if (tokens_.is_sign("{")) return dict();
  const int line = tokens_.line();
  if (tokens_.is(TokenKind::integer)) return constant(integer_value(tokens_.take()), line);
  if (tokens_.is(TokenKind::number)) return constant(number_value(tokens_.take()), line);
  if (tokens_.is(TokenKind::string)) {
    std::string text;
    while (tokens_.is(TokenKind::string)) text += tokens_.take().text;
    return constant(Value::text(text), line);
  }
  if (!tokens_.is(TokenKind::name)) tokens_.refuse_now("an expression");
  const std::string name = tokens_.take().text;
  if (name == "true" || name == "True") return constant(Value::boolean(true), line);
  if (name == "false" || name == "False") return constant(Value::boolean(false), line);
  if (name == "none" || name == "None") return constant(Value(), line);
  names_used.insert(name);
  ExpressionPtr node = make(Kind::name, line);
  node->name = name;
  return node;
}

bool ExpressionParser::tuple_ends() const {
  return tokens_.is(TokenKind::variable_end) || tokens_.is(TokenKind::block_end) || tokens_.is_sign(")") ||
         tokens_.is_name("recursive");
}

ExpressionPtr ExpressionParser::tuple(Ternary ternary) {
  const int line = tokens_.line();
  std::vector<ExpressionPtr> parts;
  bool is_tuple = false;
  do {
    if (tuple_ends()) break;
    parts.push_back(ternary == Ternary::allowed ? expression() : disjunction());
    is_tuple = is_tuple || tokens_.is_sign(",");
  } while (tokens_.take_sign(","));
  if (parts.empty()) tokens_.refuse_now("an expression");
  return is_tuple ? make(Kind::tuple, line, std::move(parts)) : std::move(parts[0]);
}

ExpressionPtr ExpressionParser::parenthesis() {
  const int line = tokens_.take().line;
  if (tokens_.take_sign(")")) return make(Kind::tuple, line);
  ExpressionPtr value = tuple();
  tokens_.want_sign(")");
  return value;
}

ExpressionPtr ExpressionParser::list() {
  const int line = tokens_.take().line;
  std::vector<ExpressionPtr> parts;
  while (!tokens_.is_sign("]")) {
    if (!parts.empty()) tokens_.want_sign(",");
    if (tokens_.is_sign("]")) break;
    parts.push_back(expression());
  }
  tokens_.want_sign("]");
  return make(Kind::list, line, std::move(parts));
}

ExpressionPtr ExpressionParser::dict() {
  const int line = tokens_.take().line;
  std::vector<ExpressionPtr> parts;
  while (!tokens_.is_sign("}")) {
    if (!parts.empty()) tokens_.want_sign(",");
    if (tokens_.is_sign("}")) break;
    parts.push_back(expression());
    tokens_.want_sign(":");
    parts.push_back(expression());
  }
  tokens_.want_sign("}");
  return make(Kind::dict, line, std::move(parts));
}

}  // namespace qjl::engine::jinja
