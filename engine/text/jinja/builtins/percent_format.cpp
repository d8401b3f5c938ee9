// %[(name)][-+0 #][width][.precision] and one of s r d i u x X o e E f F g G c %.
#include "percent_format.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "characters.hpp"
#include "printer.hpp"

namespace qjl::engine::jinja {
namespace {

using Kind = Value::Kind;
constexpr std::size_t kMaxWidth = 1 << 16;

struct Field {
  std::string name;
  bool has_name = false;
  std::string flags;
  std::size_t width = 0, precision = 0;
  bool has_precision = false;
  char letter = 0;
};

class PercentFormat {
 public:
  PercentFormat(Interpreter& run, const OriginText& form, const Value& values)
      : run_(run), form_(form), rest_(form.bytes()), values_(values) {}

  OriginText fill() {
    for (std::size_t at = rest_.find('%'); at != std::string_view::npos; at = rest_.find('%')) {
      copy(at);
      origin_ = form_.origin_at(form_.size() - rest_.size());
      rest_.remove_prefix(1);
      write(read_field());
    }
    copy(rest_.size());
    const bool all_used = !values_.is(Kind::tuple) ? used_ > 0 || values_.is_dict() || values_.is(Kind::list)
                                                   : used_ == values_.as_list().items.size();
    if (!all_used) throw Fault("found more values than the text has % for, wanted as many");
    return std::move(out_);
  }

 private:
  void copy(std::size_t bytes) {
    const std::size_t begin = form_.size() - rest_.size();
    out_.append(form_, begin, begin + bytes);
    rest_.remove_prefix(bytes);
  }

  std::size_t number() {
    std::size_t value = 0;
    while (!rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9' && value < kMaxWidth) {
      value = value * 10 + static_cast<std::size_t>(rest_[0] - '0');
      rest_.remove_prefix(1);
    }
    if (value >= kMaxWidth)
      throw Fault("found a width of " + std::to_string(value) + ", wanted less than " + std::to_string(kMaxWidth));
    return value;
  }

  Field read_field() {
    Field field;
    if (rest_.starts_with('(')) {
      const std::size_t end = std::min(rest_.find(')'), rest_.size());
      field.name = rest_.substr(1, end - 1);
      field.has_name = true;
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
    }
    while (!rest_.empty() && std::string_view("-+0 #").find(rest_[0]) != std::string_view::npos) {
      field.flags += rest_[0];
      rest_.remove_prefix(1);
    }
    field.width = number();
    if (rest_.starts_with('.')) {
      rest_.remove_prefix(1);
      field.has_precision = true;
      field.precision = number();
    }
    if (rest_.empty()) throw Fault("found a % at the end of a text, wanted a letter behind it");
    field.letter = rest_[0];
    rest_.remove_prefix(1);
    return field;
  }

  const Value& value_of(const Field& field) {
    if (field.has_name) {
      const Value* found = values_.is_dict() ? values_.as_dict().find(field.name) : nullptr;
      if (found == nullptr) throw Fault("found %(" + field.name + ") without such a value, wanted a dict that has it");
      return *found;
    }
    const std::size_t count = values_.is(Kind::tuple) ? values_.as_list().items.size() : 1;
    if (used_ >= count) throw Fault("found fewer values than the text has % for, wanted as many");
    return values_.is(Kind::tuple) ? values_.as_list().items[used_++] : (++used_, values_);
  }

  void write(const Field& field) {
    if (field.letter == '%') return out_.append("%", origin_);
    const Value& value = value_of(field);
    if (field.letter == 's' || field.letter == 'r') {
      OriginText text = field.letter == 's' ? run_.print(value) : Printer(run_).represent(value);
      if (field.has_precision) text = text.slice(0, byte_of_character(text.bytes(), field.precision));
      return pad(field, text, false);
    }
    if (value.is_undefined()) throw Fault(value.why_undefined());
    if (field.letter == 'c') return pad(field, character_of(value), false);
    if (!value.is_numeric())
      throw Fault(std::string("found a ") + value.type_name() + " for %" + field.letter + ", wanted a number");
    pad(field, {number_text(field, value), origin_}, field.flags.find('0') != std::string::npos);
  }

  // The numbers of a special token's characters may be of others too: they make words.
  static OriginText character_of(const Value& value) {
    constexpr std::int64_t kLast = 0x10FFFF, kSurrogates = 0xD800, kBehindThem = 0xE000;
    if (value.is_text() && count_characters(value.bytes()) == 1) return value.as_text();
    const std::int64_t code = value.is_whole() ? value.as_integer() : -1;
    if (code < 0 || code > kLast || (code >= kSurrogates && code < kBehindThem)) {
      throw Fault("found a " + value.type_name() + " for %c, wanted one character or its number");
    }
    std::string bytes;
    append_character(bytes, static_cast<char32_t>(code));
    return {bytes, Origin::words};
  }

  static std::string with_sign(const Field& field, bool negative, const std::string& digits) {
    const bool plus = field.flags.find('+') != std::string::npos, space = field.flags.find(' ') != std::string::npos;
    return (negative ? "-" : plus ? "+" : space ? " " : "") + digits;
  }

  static std::string number_text(const Field& field, const Value& value) {
    const std::string_view whole = "diuxXo", real = "eEfFgG";
    if (whole.find(field.letter) != std::string_view::npos) {
      const bool decimal = field.letter == 'd' || field.letter == 'i' || field.letter == 'u';
      if (value.is(Kind::number) && (!decimal || !(std::abs(value.as_number()) < 9e18))) {
        throw Fault("found a float in a format of whole numbers, wanted an int");
      }
      const std::int64_t number = value.is(Kind::number) ? static_cast<std::int64_t>(value.as_number()) : value.as_integer();
      const std::uint64_t size = number < 0 ? ~static_cast<std::uint64_t>(number) + 1 : static_cast<std::uint64_t>(number);
      std::array<char, 70> digits{};
      const int base = decimal ? 10 : field.letter == 'o' ? 8 : 16;
      std::string text(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), size, base).ptr);
      if (field.letter == 'X')
        std::transform(text.begin(), text.end(), text.begin(), [](char c) { return c >= 'a' ? static_cast<char>(c - 32) : c; });
      if (text.size() < field.precision) text.insert(0, field.precision - text.size(), '0');
      return with_sign(field, number < 0, text);
    }
    if (real.find(field.letter) == std::string_view::npos) {
      throw Fault(std::string("found %") + field.letter + ", wanted one of s r d i u x X o e E f F g G c %");
    }
    const std::string form = std::string("%.*") + field.letter;
    const double size = std::abs(value.as_number());
    const int precision = field.has_precision ? static_cast<int>(std::min<std::size_t>(field.precision, 1000)) : 6;
    std::string text(1500, ' ');
    text.resize(static_cast<std::size_t>(std::snprintf(text.data(), text.size(), form.c_str(), precision, size)));
    return with_sign(field, std::signbit(value.as_number()), text);
  }

  void pad(const Field& field, const OriginText& text, bool zeros) {
    const std::size_t found = count_characters(text.bytes());
    const std::string spaces(field.width > found ? field.width - found : 0, ' ');
    run_.spend_bytes(spaces.size() + text.size());
    const bool left = field.flags.find('-') != std::string::npos;
    if (left) {
      out_.append(text);
      out_.append(spaces, origin_);
    } else if (zeros) {
      const bool sign = !text.empty() && std::string_view("+- ").find(text.bytes()[0]) != std::string_view::npos;
      out_.append(text, 0, sign ? 1 : 0);
      out_.append(std::string(spaces.size(), '0'), origin_);
      out_.append(text, sign ? 1 : 0, text.size());
    } else {
      out_.append(spaces, origin_);
      out_.append(text);
    }
  }

  Interpreter& run_;
  const OriginText& form_;
  std::string_view rest_;
  const Value& values_;
  std::size_t used_ = 0;
  Origin origin_ = Origin::markup;  // of the % that is being filled
  OriginText out_;
};

// One field of a brace format.
Value field_value(const Call& call, std::string_view name, std::size_t& next) {
  if (name.empty() || name.find_first_not_of("0123456789") == std::string_view::npos) {
    std::size_t index = next;
    if (name.empty()) {
      ++next;
    } else if (name.size() > 6 || std::from_chars(name.data(), name.data() + name.size(), index).ec != std::errc()) {
      index = call.rest.size();
    }
    if (index >= call.rest.size()) call.fail("the field {" + std::string(name) + "} without a value", "a value for each field");
    return call.rest[index];
  }
  if (name.find_first_of(".[:!{") != std::string_view::npos)
    call.fail("the field {" + std::string(name) + "}", "{}, {0} or {name}");
  call.run.spend(call.named.size());
  const auto found = std::find_if(call.named.begin(), call.named.end(), [&](const auto& row) { return row.first.bytes() == name; });
  if (found == call.named.end()) call.fail("the field {" + std::string(name) + "} without a value", "a value for each field");
  return found->second;
}

}  // namespace

Value percent_format(Interpreter& run, const OriginText& form, const Value& values) {
  run.spend_bytes(form.size());
  return Value::text(PercentFormat(run, form, values).fill());
}

Value brace_format(Call& call) {
  const OriginText& form = call.self.as_text();
  const std::string_view all = form.bytes();
  call.run.spend_bytes(all.size());
  OriginText out;
  std::size_t next = 0;
  for (std::size_t at = 0; at < all.size();) {
    const std::size_t brace = std::min(all.find_first_of("{}", at), all.size());
    out.append(form, at, brace);
    if (brace == all.size()) break;
    if (brace + 1 < all.size() && all[brace + 1] == all[brace]) {  // doubled: itself
      out.append(form, brace, brace + 1);
      at = brace + 2;
      continue;
    }
    const std::size_t end = all[brace] == '{' ? all.find('}', brace) : std::string_view::npos;
    if (end == std::string_view::npos) call.fail("a brace without its other one", "pairs of them");
    out.append(call.run.print(field_value(call, all.substr(brace + 1, end - brace - 1), next)));
    at = end + 1;
  }
  return Value::text(std::move(out));
}

}  // namespace qjl::engine::jinja
