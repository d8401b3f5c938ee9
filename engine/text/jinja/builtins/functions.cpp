// Functions that every template sees.
#include <algorithm>
#include <array>

#include "call.hpp"
#include "objects.hpp"
#include "printable.hpp"

namespace qjl::engine::jinja {
namespace {

constexpr std::int64_t kMaxRange = 100000;  // as jinja2's sandbox

Value range(Call& call) {
  const std::int64_t from = call.has(1) ? call.integer(0) : 0;
  const std::int64_t to = call.has(1) ? call.integer(1) : call.integer(0);
  const std::int64_t step = call.integer(2, 1);
  if (step == 0) call.fail("step 0", "another");
  const double count = std::max(0.0, (static_cast<double>(to) - static_cast<double>(from)) / static_cast<double>(step));
  if (count > static_cast<double>(kMaxRange)) call.fail("more than " + std::to_string(kMaxRange) + " numbers", "at most that many");
  std::vector<Value> items;
  // The next number may be past 64 bits only when it is also past `to`.
  for (std::int64_t at = from; step > 0 ? at < to : at > to;) {
    items.push_back(Value::integer(at));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  call.run.spend(2 * items.size());
  return Value::list(std::move(items), Value::Kind::view, "range");
}

Dict pairs_of(Call& call) {
  Dict dict;
  if (call.rest.size() > 1) call.fail(std::to_string(call.rest.size()) + " arguments", "at most 1");
  if (!call.rest.empty() && call.rest[0].is_dict()) {
    dict = call.rest[0].as_dict();
    call.run.spend(4 * dict.items.size());
  } else if (!call.rest.empty()) {
    for (const Value& item : call.run.items_of(call.rest[0])) {
      const std::vector<Value> pair = call.run.items_of(item);
      if (pair.size() != 2) call.fail("an item of " + std::to_string(pair.size()), "pairs of key and value");
      call.run.spend(2 + pair[0].extent().weight);
      dict.set(pair[0], pair[1]);
    }
  }
  for (const auto& [name, value] : call.named) {
    call.run.spend(name.extent().weight);
    dict.set(name, value);
  }
  return dict;
}

Value dict(Call& call) { return Value::dict(pairs_of(call)); }

Value make_namespace(Call& call) {
  auto* made = call.run.make<Namespace>();
  for (const auto& [key, value] : pairs_of(call).items) {
    if (!key.is_text()) call.fail("a " + key.type_name() + " as a name", "a str");
    made->set_attribute(key.bytes(), value);
  }
  return Value::object(made);
}

Value raise_exception(Call& call) { throw Fault("the template refuses: " + call.run.print(call.at(0)).bytes()); }

Value strftime_now(Call& call) {
  constexpr std::size_t kLongest = 200;
  const std::string& form = call.text(0).bytes();
  const Origin origin = call.text(0).has_words() ? Origin::words : Origin::markup;
  if (form.size() > kLongest)
    call.fail("a format of " + std::to_string(form.size()) + " bytes", "at most " + std::to_string(kLongest));
  if (form.empty()) return Value::text("");
  std::array<char, 8192> out{};
  const std::size_t bytes = std::strftime(out.data(), out.size(), form.c_str(), &call.run.now());
  return Value::text(std::string_view(out.data(), bytes), origin);
}

constexpr std::array<Builtin, 5> kFunctions = {{
    {"dict", "*", dict},
    {"namespace", "*", make_namespace},
    {"raise_exception", "message", raise_exception},
    {"range", "start stop step", range},
    {"strftime_now", "format", strftime_now},
}};

}  // namespace

std::span<const Builtin> functions() { return kFunctions; }

}  // namespace qjl::engine::jinja
