// Filters on lists, dicts and numbers.
#include <algorithm>
#include <array>

#include "call.hpp"
#include "characters.hpp"
#include "number_filters.hpp"
#include "operators.hpp"
#include "text_operations.hpp"

namespace qjl::engine::jinja {
namespace {

using Kind = Value::Kind;

// The value that a path "a.b.0" leads to; without a path the item itself.
Value follow(Call& call, Value item, const Value& path) {
  if (path.is(Kind::none)) return item;
  if (path.is_whole()) return call.run.item(item, path);
  if (!path.is_text()) call.fail("a " + path.type_name() + " as attribute", "a str");
  std::string_view rest = path.bytes();
  for (;;) {
    const std::size_t dot = std::min(rest.find('.'), rest.size());
    const std::string_view part = rest.substr(0, dot);
    const bool number = !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string_view::npos;
    item = call.run.item(item, number ? Value::integer(std::stoll(std::string(part))) : Value::text(part));
    if (dot == rest.size()) return item;
    rest.remove_prefix(dot + 1);
  }
}

Value without_case(Call& call, const Value& value) {
  if (!value.is_text()) return value;
  call.run.spend_bytes(2 * value.as_text().size());
  return Value::text(lowered(value.as_text()));
}

// Items beside what they are compared by.
using Keyed = std::vector<std::pair<Value, Value>>;

Keyed keyed_items(Call& call, const std::vector<Value>& items, const Value& path, bool case_sensitive) {
  Keyed keyed;
  for (const Value& item : items) {
    Value key = follow(call, item, path);
    keyed.emplace_back(case_sensitive ? key : without_case(call, key), item);
  }
  return keyed;
}

enum class Order : std::uint8_t { rising, falling };

std::vector<Value> sorted(Call& call, Keyed keyed, Order order) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return order == Order::rising ? call.run.before(a.first, b.first) : call.run.before(b.first, a.first);
  });
  std::vector<Value> items;
  for (auto& row : keyed) items.push_back(std::move(row.second));
  return items;
}

Value sort(Call& call) {
  const Order order = call.flag(0, false) ? Order::falling : Order::rising;
  const bool case_sensitive = call.flag(1, false);
  const Value path = call.get(2, Value());
  Keyed keyed;
  for (const Value& item : call.run.items_of(call.self)) {
    std::vector<Value> keys;
    std::string_view rest = path.is_text() ? std::string_view(path.bytes()) : std::string_view();
    do {  // "a,b": by a, then by b
      const std::size_t comma = std::min(rest.find(','), rest.size());
      Value key = follow(call, item, path.is_text() ? Value::text(rest.substr(0, comma)) : path);
      keys.push_back(case_sensitive ? key : without_case(call, key));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    } while (!rest.empty());
    keyed.emplace_back(Value::list(std::move(keys)), item);
  }
  return Value::list(sorted(call, std::move(keyed), order));
}

Value dictsort(Call& call) {
  if (!call.self.is_dict()) call.fail("a " + call.self.type_name(), "a dict");
  const std::string by = call.has(1) ? call.text(1).bytes() : "key";
  if (by != "key" && by != "value") call.fail("by=" + by, "key or value");
  Keyed keyed;
  call.run.spend(4 * call.self.as_dict().items.size());
  for (const auto& [key, value] : call.self.as_dict().items) {
    const Value& chosen = by == "key" ? key : value;
    keyed.emplace_back(call.flag(0, false) ? chosen : without_case(call, chosen), Value::tuple({key, value}));
  }
  return Value::list(sorted(call, std::move(keyed), call.flag(2, false) ? Order::falling : Order::rising));
}

Value unique(Call& call) {
  std::vector<Value> items;
  Dict seen;
  for (auto& [key, item] : keyed_items(call, call.run.items_of(call.self), call.get(1, Value()), call.flag(0, false))) {
    call.run.spend(key.extent().weight);
    if (seen.find(key) != nullptr) continue;
    seen.set(key, Value());
    items.push_back(item);
  }
  return Value::generator(std::move(items));
}

Value extreme(Call& call, Order order) {
  const Keyed keyed = keyed_items(call, call.run.items_of(call.self), call.get(1, Value()), call.flag(0, false));
  if (keyed.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const auto* best = &keyed[0];
  for (const auto& row : keyed) {
    const bool better = order == Order::rising ? call.run.before(row.first, best->first) : call.run.before(best->first, row.first);
    if (better) best = &row;
  }
  return best->second;
}

Value min(Call& call) { return extreme(call, Order::rising); }
Value max(Call& call) { return extreme(call, Order::falling); }

Value sum(Call& call) {
  Value total = call.get(1, Value::integer(0));
  for (const Value& item : call.run.items_of(call.self)) {
    total = binary(call.run, Operator::add, total, follow(call, item, call.get(0, Value())));
  }
  return total;
}

Value groupby(Call& call) {
  const bool case_sensitive = call.flag(2, false);
  struct Row {
    Value compared, key, item;
  };
  std::vector<Row> rows;
  for (const Value& item : call.run.items_of(call.self)) {
    Value key = follow(call, item, call.at(0));
    if (key.is_undefined() && call.has(1)) key = call.at(1);
    rows.push_back({case_sensitive ? key : without_case(call, key), key, item});
  }
  std::stable_sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) { return call.run.before(a.compared, b.compared); });
  std::vector<Value> groups;
  for (std::size_t i = 0; i < rows.size();) {
    std::vector<Value> group;
    const Row& first = rows[i];
    for (; i < rows.size() && call.run.same(rows[i].compared, first.compared); ++i) group.push_back(rows[i].item);
    groups.push_back(Value::list({first.key, Value::list(std::move(group))}, Kind::tuple, kGroup));
  }
  return Value::list(std::move(groups));
}

Value map(Call& call) {
  std::vector<Value> items;
  if (!call.self.truth()) return Value::generator({});  // none and undefined too, as jinja2
  if (call.rest.empty()) {
    Value path, otherwise;
    for (const auto& [name, value] : call.named) {
      const std::string& given = name.bytes();
      if (given != "attribute" && given != "default") call.fail("the argument `" + given + "`", "attribute or default");
      (given == "attribute" ? path : otherwise) = value;
    }
    if (path.is(Kind::none)) call.fail("no filter", "its name, or attribute=");
    for (const Value& item : call.run.items_of(call.self)) {
      const Value found = follow(call, item, path);
      items.push_back(found.is_undefined() && !otherwise.is(Kind::none) ? otherwise : found);
    }
    return Value::generator(std::move(items));
  }
  if (!call.rest[0].is_text()) call.fail("a " + call.rest[0].type_name() + " as filter", "a name");
  const Arguments arguments{{call.rest.begin() + 1, call.rest.end()}, call.named};
  for (const Value& item : call.run.items_of(call.self)) items.push_back(call.run.filter(call.rest[0].bytes(), item, arguments));
  return Value::generator(std::move(items));
}

enum class Of : std::uint8_t { item, attribute };

template <Of of, bool wanted>
Value choose(Call& call) {
  if (!call.self.truth()) return Value::generator({});  // none and undefined too, as jinja2
  const std::size_t skip = of == Of::attribute ? 1 : 0;
  if (call.rest.size() < skip) call.fail("no attribute", "its name");
  const bool tests = call.rest.size() > skip;
  Arguments arguments;
  if (tests) arguments = {{call.rest.begin() + static_cast<std::ptrdiff_t>(skip) + 1, call.rest.end()}, call.named};
  if (tests && !call.rest[skip].is_text()) call.fail("a " + call.rest[skip].type_name() + " as test", "a name");
  std::vector<Value> items;
  for (const Value& item : call.run.items_of(call.self)) {
    const Value value = of == Of::attribute ? follow(call, item, call.rest[0]) : item;
    const bool holds = tests ? call.run.test(call.rest[skip].bytes(), value, arguments) : value.truth();
    if (holds == wanted) items.push_back(item);
  }
  return Value::generator(std::move(items));
}

Value join(Call& call) {
  const OriginText between = call.has(0) ? call.run.print(call.at(0)) : OriginText();
  std::vector<OriginText> parts;
  for (const Value& item : call.run.items_of(call.self)) {
    parts.push_back(call.run.print(follow(call, item, call.get(1, Value()))));
    call.run.spend_bytes(parts.back().size() + between.size());
  }
  return Value::text(joined(between, parts));
}

Value length(Call& call) {
  const Value& value = call.self;
  if (value.is_undefined()) return Value::integer(0);
  if (value.is_dict()) return Value::integer(std::ssize(value.as_dict().items));
  if (value.has_items() && !value.is(Kind::generator)) return Value::integer(std::ssize(value.as_list().items));
  if (!value.is_text()) call.fail("a " + value.type_name(), "a list, a dict or a str");
  call.run.spend_bytes(value.as_text().size());
  return Value::integer(static_cast<std::int64_t>(count_characters(value.bytes())));
}

Value list(Call& call) { return Value::list(call.run.items_of(call.self)); }

Value first(Call& call) {
  const std::vector<Value> items = call.run.items_of(call.self);
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}

Value last(Call& call) {
  if (call.self.is(Kind::generator)) call.fail("a generator", "a list");
  const std::vector<Value> items = call.run.items_of(call.self);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value reverse(Call& call) {
  std::vector<Value> items = call.run.items_of(call.self);
  std::reverse(items.begin(), items.end());
  if (!call.self.is_text()) return Value::generator(std::move(items));
  OriginText text;
  for (const Value& item : items) text.append(item.as_text());
  return Value::text(std::move(text));
}

Value items(Call& call) {
  if (call.self.is_undefined()) return Value::generator({});
  if (!call.self.is_dict()) call.fail("a " + call.self.type_name(), "a dict");
  std::vector<Value> rows;
  call.run.spend(4 * call.self.as_dict().items.size());
  for (const auto& [key, value] : call.self.as_dict().items) rows.push_back(Value::tuple({key, value}));
  return Value::generator(std::move(rows));
}

Value otherwise(Call& call) {
  const bool missing = call.self.is_undefined() || (call.flag(1, false) && !call.self.truth());
  return missing ? call.get(0, Value::text("")) : call.self;
}

Value batch(Call& call) {
  const std::int64_t size = call.integer(0);
  if (size < 1) call.fail("rows of " + std::to_string(size), "1 or more");
  std::vector<Value> rows, row;
  for (Value& item : call.run.items_of(call.self)) {
    if (std::ssize(row) == size) rows.push_back(Value::list(std::exchange(row, {})));
    row.push_back(std::move(item));
  }
  if (!row.empty()) {
    const bool fills = call.has(1) && !call.at(1).is(Kind::none);
    if (fills) call.run.spend(static_cast<std::size_t>(size));
    while (fills && std::ssize(row) < size) row.push_back(call.at(1));
    rows.push_back(Value::list(std::move(row)));
  }
  return Value::generator(std::move(rows));
}

Value slices(Call& call) {
  const std::vector<Value> all = call.run.items_of(call.self);
  const std::int64_t count = call.integer(0);
  if (count < 1) call.fail(std::to_string(count) + " slices", "1 or more");
  call.run.spend(static_cast<std::size_t>(count));
  const std::int64_t size = std::ssize(all) / count, longer = std::ssize(all) % count;
  std::vector<Value> rows;
  auto from = all.begin();
  for (std::int64_t i = 0; i < count; ++i) {
    std::vector<Value> row(from, from + size + (i < longer ? 1 : 0));
    from += std::ssize(row);
    if (call.has(1) && !call.at(1).is(Kind::none) && i >= longer) row.push_back(call.at(1));
    rows.push_back(Value::list(std::move(row)));
  }
  return Value::generator(std::move(rows));
}

constexpr std::array<Builtin, 28> kFilters = {{
    {"abs", "", absolute},
    {"batch", "linecount fill_with", batch},
    {"count", "", length},
    {"d", "default_value boolean", otherwise},
    {"default", "default_value boolean", otherwise},
    {"dictsort", "case_sensitive by reverse", dictsort},
    {"first", "", first},
    {"float", "default", to_float},
    {"groupby", "attribute default case_sensitive", groupby},
    {"int", "default base", to_int},
    {"items", "", items},
    {"join", "d attribute", join},
    {"last", "", last},
    {"length", "", length},
    {"list", "", list},
    {"map", "*", map},
    {"max", "case_sensitive attribute", max},
    {"min", "case_sensitive attribute", min},
    {"reject", "*", choose<Of::item, false>},
    {"rejectattr", "*", choose<Of::attribute, false>},
    {"reverse", "", reverse},
    {"round", "precision method", rounded},
    {"select", "*", choose<Of::item, true>},
    {"selectattr", "*", choose<Of::attribute, true>},
    {"slice", "slices fill_with", slices},
    {"sort", "reverse case_sensitive attribute", sort},
    {"sum", "attribute start", sum},
    {"unique", "case_sensitive attribute", unique},
}};

}  // namespace

std::span<const Builtin> list_filters() { return kFilters; }

}  // namespace qjl::engine::jinja
