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

// As Python's round(): what lies in the middle goes to the even side.
Value rounded_whole(std::int64_t value, std::int64_t precision) {
  constexpr std::int64_t kMostDigits = 19;
  if (precision >= 0) return Value::integer(value);
  if (precision < -kMostDigits) return Value::integer(0);
  std::uint64_t unit = 1, out = 0;
  for (std::int64_t i = precision; i < 0; ++i) unit *= 10;
  const std::uint64_t size = value < 0 ? ~static_cast<std::uint64_t>(value) + 1 : static_cast<std::uint64_t>(value);
  const std::uint64_t quotient = size / unit, rest = size % unit;
  const bool up = rest > unit - rest || (rest == unit - rest && quotient % 2 == 1);
  const bool overflows = __builtin_mul_overflow(quotient + (up ? 1 : 0), unit, &out) || out > INT64_MAX;
  const std::int64_t found = overflows ? 0 : static_cast<std::int64_t>(out);
  return checked(overflows, value < 0 ? -found : found);
}

double rounded_number(double value, std::int64_t precision) {
  constexpr std::int64_t kMostDigits = 308;
  if (precision < -kMostDigits) return std::copysign(0.0, value);
  if (precision < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-precision)), found = std::nearbyint(value / unit) * unit;
    if (std::isinf(found)) throw Fault("found a rounded number that no double holds");
    return found;
  }
  std::string text(1500, ' ');
  const int count =
      std::snprintf(text.data(), text.size(), "%.*f", static_cast<int>(std::min<std::int64_t>(precision, 340)), value);
  return std::strtod(text.substr(0, static_cast<std::size_t>(count)).c_str(), nullptr);
}

// As jinja2: ceil(value * 10**precision) / 10**precision, in whole numbers where both are.
double rounded_towards(const Value& value, std::int64_t precision, bool up) {
  if (value.is_whole() && precision >= 0) return value.as_number();
  const double unit = std::pow(10.0, static_cast<double>(precision)), scaled = value.as_number() * unit;
  if (unit == 0) throw Fault("found a division by zero");
  if (!std::isfinite(scaled)) throw Fault("found a number to round that no double holds");
  return (up ? std::ceil(scaled) : std::floor(scaled)) / unit;
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
    return Value::number(rounded_towards(value, precision, method == "ceil"));
  }
  if (method != "common") call.fail("the method " + method, "common, ceil or floor");
  if (value.is_whole()) return rounded_whole(value.as_integer(), precision);
  if (std::isnan(value.as_number()) || std::isinf(value.as_number())) return value;
  return Value::number(rounded_number(value.as_number(), precision));
}

}  // namespace qjl::engine::jinja
