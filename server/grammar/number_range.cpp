// Magnitudes on either side of 0, length by length.
#include "number_range.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <utility>

#include "qjl/error.hpp"

namespace qjl::server {
namespace {

using Part = Grammar::Part;

constexpr std::size_t kDigits = 15;  // doubles tell all such numbers apart
constexpr double kLimit = 1e15;

// |x|, exactly as written: digits before and after the point, neither with zeros that say nothing.
struct Magnitude {
  std::string whole = "0", fraction = {};
  bool is_exclusive = false;
};

Magnitude magnitude_of(const Json& number) {
  std::string text = number.dump();
  if (number.is_number_float()) {
    std::array<char, 400> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number.get<double>(), std::chars_format::fixed);
    text.assign(digits.data(), end.ptr);
  }
  if (text.front() == '-') text.erase(0, 1);
  const std::size_t point = std::min(text.find('.'), text.size());
  Magnitude out{.whole = text.substr(0, point), .fraction = text.substr(std::min(point + 1, text.size()))};
  out.fraction.erase(out.fraction.find_last_not_of('0') + 1);
  if (out.whole.size() + out.fraction.size() > kDigits)
    throw Error(ErrorKind::unsupported, "found the bound " + number.dump() + ", wanted at most 15 digits");
  return out;
}

// Texts from `low` to `high`, where low has no more digits before the point than high.
class Digits {
 public:
  Digits(JsonGrammar& json, Magnitude low, Magnitude high, std::size_t decimals)
      : g_(json.grammar()), low_(std::move(low)), high_(std::move(high)), decimals_(decimals) {}

  std::vector<Part> all() {
    std::vector<Part> ways;
    for (std::size_t length = low_.whole.size(); length <= high_.whole.size(); ++length) {
      const bool is_first = length == low_.whole.size(), is_last = length == high_.whole.size();
      length_ = length;
      bound_low_ = is_first ? low_.whole + low_.fraction : "1";
      bound_high_ = is_last ? high_.whole + high_.fraction : std::string(length + decimals_, '9');
      bound_low_.resize(length + decimals_, '0');
      bound_high_.resize(length + decimals_, '0');
      excludes_low_ = is_first && low_.is_exclusive;
      excludes_high_ = is_last && high_.is_exclusive;
      if (bound_low_ > bound_high_) continue;
      if (const auto way = from(0, true, true)) ways.push_back(*way);
    }
    return ways;
  }

 private:
  bool rest_is_zero(const std::string& bound, std::size_t at) const {
    return bound.find_first_not_of('0', at) == std::string::npos;
  }

  // A number may end before digit `at`, the rest being zeros.
  bool may_end(std::size_t at, bool is_low, bool is_high) const {
    if (at < length_) return false;
    if (is_low && (!rest_is_zero(bound_low_, at) || excludes_low_)) return false;
    return !(is_high && excludes_high_ && rest_is_zero(bound_high_, at));
  }

  // What may stand from digit `at` on; is_low, is_high: all before it are the bound's.
  std::optional<Part> from(std::size_t at, bool is_low, bool is_high) {
    const std::size_t end = length_ + decimals_;
    std::vector<Part> ways;
    if (at > 0 && rest_is_zero(bound_low_, at) && !excludes_low_) is_low = false;
    if (at > 0 && bound_high_.find_first_not_of('9', at) == std::string::npos && !excludes_high_) is_high = false;
    if (!is_low && !is_high) return free_from(at);
    for (char digit = is_low ? bound_low_[at] : '0'; at < end && digit <= (is_high ? bound_high_[at] : '9');) {
      const bool stays_low = is_low && digit == bound_low_[at], stays_high = is_high && digit == bound_high_[at];
      char last = digit;
      if (!stays_low && !stays_high) last = static_cast<char>(is_high ? bound_high_[at] - 1 : '9');
      if (const auto rest = from(at + 1, stays_low, stays_high)) {
        const Part one = g_.characters({{static_cast<char32_t>(digit), static_cast<char32_t>(last)}});
        ways.push_back(g_.sequence({one, *rest}));
      }
      digit = static_cast<char>(last + 1);
    }
    std::optional<Part> more;
    if (!ways.empty()) more = g_.one_of(std::move(ways));
    if (more && at == length_) more = g_.sequence({g_.text("."), *more});
    if (!may_end(at, is_low, is_high)) return more;
    return more ? g_.optional(*more) : g_.text("");
  }

  Part free_from(std::size_t at) {
    const Part digit = g_.characters({{'0', '9'}});
    const auto rest = [](std::size_t count) { return static_cast<std::int64_t>(count); };
    if (at > length_) return g_.repeat(digit, 0, rest(length_ + decimals_ - at));
    const Part whole = g_.repeat(digit, rest(length_ - at), rest(length_ - at));
    if (decimals_ == 0) return whole;
    return g_.sequence({whole, g_.optional(g_.sequence({g_.text("."), g_.repeat(digit, 1, rest(decimals_))}))});
  }

  Grammar& g_;
  const Magnitude low_, high_;
  const std::size_t decimals_;
  std::size_t length_ = 0;  // digits before the point
  std::string bound_low_, bound_high_;
  bool excludes_low_ = false, excludes_high_ = false;
};

// To the next whole number inside.
NumberBound whole_bound(NumberBound bound, bool is_least) {
  if (bound.value.is_number_float()) {
    const auto x = bound.value.get<double>();
    const double inside = is_least ? std::ceil(x) : std::floor(x);
    bound = {.value = static_cast<std::int64_t>(inside), .is_exclusive = bound.is_exclusive && inside == x};
  }
  if (bound.is_exclusive) bound = {.value = bound.value.get<std::int64_t>() + (is_least ? 1 : -1)};
  return bound;
}

std::size_t decimals_for(const Magnitude& low, const Magnitude& high) {
  const std::size_t decimals = kDigits - std::max(low.whole.size(), high.whole.size());
  if (decimals < std::max(low.fraction.size(), high.fraction.size()))
    throw Error(ErrorKind::unsupported, "found bounds that together have more than 15 digits, wanted fewer");
  return decimals;
}

}  // namespace

Part number_between(JsonGrammar& json, bool is_whole, std::optional<NumberBound> least, std::optional<NumberBound> most) {
  const auto says_nothing = [](const std::optional<NumberBound>& bound, double sign) {
    return bound && sign * bound->value.get<double>() <= -kLimit;
  };
  if (says_nothing(least, 1)) least.reset();
  if (says_nothing(most, -1)) most.reset();
  if (!least && !most) return is_whole ? json.integer() : json.number();
  if ((least && least->value.get<double>() >= kLimit) || (most && most->value.get<double>() <= -kLimit))
    throw Error(ErrorKind::unsupported, "found a bound beyond 15 digits, wanted fewer");
  if (is_whole && least) least = whole_bound(*least, true);
  if (is_whole && most) most = whole_bound(*most, false);

  Grammar& g = json.grammar();
  const auto bound_of = [](const std::optional<NumberBound>& bound, double sign) {
    if (!bound) return Magnitude{.whole = std::string(kDigits, '9')};
    Magnitude out = sign * bound->value.get<double>() > 0 ? magnitude_of(bound->value) : Magnitude{};
    out.is_exclusive = bound->is_exclusive && sign * bound->value.get<double>() >= 0;
    return out;
  };
  const auto range = [&](const Magnitude& low, const Magnitude& high, bool is_limited) {
    const std::size_t decimals = is_whole ? 0 : is_limited ? decimals_for(low, high) : kDigits - low.whole.size();
    return Digits(json, low, high, decimals).all();
  };
  std::vector<Part> ways;
  if (!most || most->value.get<double>() >= 0) ways = range(bound_of(least, 1), bound_of(most, 1), most.has_value());
  if (!least || least->value.get<double>() < 0) {
    Magnitude low = bound_of(most, -1);
    if (low.whole == "0" && low.fraction.empty()) low.is_exclusive = true;  // no -0
    const auto negative = range(low, bound_of(least, -1), least.has_value());
    if (!negative.empty()) ways.push_back(g.sequence({g.text("-"), g.one_of(negative)}));
  }
  if (ways.empty()) throw Error(ErrorKind::invalid_argument, "found bounds without a number between them, wanted some");
  return g.rule(g.one_of(std::move(ways)));
}

}  // namespace qjl::server
