// Texts become numbers as by Python's int() and float(); what is no number becomes the default.
#include "number_filters.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "characters.hpp"
#include "operators.hpp"

namespace qjl::engine::jinja {
namespace {

using Kind = Value::Kind;

// Without space around it, and without the underscores that stand between digits.
std::optional<std::string> digits_of(std::string_view text) {
  text = trim_end(trim_start(text));
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto is_digit = [&](std::size_t at) {
      return at < text.size() && std::isalnum(static_cast<unsigned char>(text[at])) != 0;
    };
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || !is_digit(i - 1) || !is_digit(i + 1)) {
      return std::nullopt;
    }
  }
  return out;
}

std::optional<std::int64_t> read_integer(std::string_view text, int base) {
  const auto digits = digits_of(text);
  if (!digits) return std::nullopt;
  std::string_view rest = *digits;
  const bool minus = rest.starts_with('-');
  if (minus || rest.starts_with('+')) rest.remove_prefix(1);
  const char prefix = rest.size() > 2 && rest[0] == '0' ? static_cast<char>(rest[1] | 0x20) : ' ';
  if ((base == 16 && prefix == 'x') || (base == 8 && prefix == 'o') || (base == 2 && prefix == 'b')) rest.remove_prefix(2);
  const std::string number = (minus ? "-" : "") + std::string(rest);
  if (rest.empty() || rest[0] == '-' || rest[0] == '+') return std::nullopt;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value, base);
  if (error == std::errc::result_out_of_range) checked(true, 0);
  if (error != std::errc() || end != number.data() + number.size()) return std::nullopt;
  return value;
}

std::optional<double> read_number(std::string_view text) {
  const auto digits = digits_of(text);
  if (!digits) return std::nullopt;
  std::string_view rest = *digits;
  const bool sign = rest.starts_with('+');
  if (sign) rest.remove_prefix(1);
  if (rest.empty() || (sign && rest[0] == '-') || rest.find('(') != std::string_view::npos) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (end != rest.data() + rest.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) return std::strtod(std::string(rest).c_str(), nullptr);
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

std::optional<Value> whole_part(double value) {
  if (std::isnan(value) || std::isinf(value)) return std::nullopt;
  return checked(!(std::abs(value) < 9.2e18), std::abs(value) < 9.2e18 ? static_cast<std::int64_t>(value) : 0);
}

double at_precision(double value, std::int64_t precision) {
  if (precision < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-precision));
    return std::nearbyint(value / unit) * unit;
  }
  std::string text(1500, ' ');
  const int count =
      std::snprintf(text.data(), text.size(), "%.*f", static_cast<int>(std::min<std::int64_t>(precision, 340)), value);
  return std::strtod(text.substr(0, static_cast<std::size_t>(count)).c_str(), nullptr);
}

}  // namespace

Value absolute(Call& call) {
  const Value number = numeric(call.self);
  const bool negative = number.is(Kind::number) ? std::signbit(number.as_number()) : number.as_integer() < 0;
  return negative ? negated(number) : number;
}

Value to_int(Call& call) {
  const Value& value = call.self;
  if (value.is_undefined()) throw Fault(value.why_undefined());
  std::optional<Value> found;
  if (value.is_text()) {
    const std::int64_t base = call.integer(1, 10);
    if (base < 2 || base > 36) call.fail("base " + std::to_string(base), "2 to 36");
    call.run.spend_bytes(value.as_text().size());
    if (const auto whole = read_integer(value.bytes(), static_cast<int>(base))) return Value::integer(*whole);
    if (const auto number = read_number(value.bytes())) found = whole_part(*number);
  } else if (value.is_whole()) {
    return Value::integer(value.as_integer());
  } else if (value.is(Kind::number)) {
    found = whole_part(value.as_number());
  }
  return found ? *found : call.get(0, Value::integer(0));
}

Value to_float(Call& call) {
  const Value& value = call.self;
  if (value.is_undefined()) throw Fault(value.why_undefined());
  if (value.is_numeric()) return Value::number(value.as_number());
  if (value.is_text()) {
    call.run.spend_bytes(value.as_text().size());
    if (const auto number = read_number(value.bytes())) return Value::number(*number);
  }
  return call.get(0, Value::number(0));
}

Value rounded(Call& call) {
  const Value value = numeric(call.self);
  const std::int64_t precision = std::clamp<std::int64_t>(call.integer(0, 0), -340, 340);
  const std::string method = call.has(1) ? call.text(1).bytes() : "common";
  if (method == "ceil" || method == "floor") {
    const double unit = std::pow(10.0, static_cast<double>(precision));
    const double scaled = value.as_number() * unit;
    return Value::number((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
  }
  if (method != "common") call.fail("the method " + method, "common, ceil or floor");
  if (!value.is(Kind::number))
    return precision < 0 ? Value::integer(static_cast<std::int64_t>(at_precision(value.as_number(), precision))) : value;
  if (std::isnan(value.as_number()) || std::isinf(value.as_number())) return value;
  return Value::number(at_precision(value.as_number(), precision));
}

}  // namespace qjl::engine::jinja
