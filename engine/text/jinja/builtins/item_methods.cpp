// Methods of lists, tuples and dicts: those that change nothing. The others are known by name, so that the error can say why not.
#include <algorithm>
#include <array>

#include "call.hpp"

namespace qjl::engine::jinja {
namespace {

using Kind = Value::Kind;

Value count(Call& call) {
  const auto& items = call.self.as_list().items;
  return Value::integer(
      std::count_if(items.begin(), items.end(), [&](const Value& item) { return call.run.same(item, call.at(0)); }));
}

Value index(Call& call) {
  const auto& items = call.self.as_list().items;
  const auto found = std::find_if(items.begin(), items.end(), [&](const Value& item) { return call.run.same(item, call.at(0)); });
  if (found == items.end()) call.fail("no such item in the list", "one");
  return Value::integer(found - items.begin());
}

Value copy(Call& call) { return call.self; }

Value changes(Call& call) { call.fail("a list or dict to change", "a new one made of it: templates change namespaces alone"); }

Value get(Call& call) {
  const Value& key = call.at(0);
  call.run.spend(key.extent().weight);
  const Value* found = call.self.as_dict().find(key);
  return found != nullptr ? *found : call.get(1, Value());
}

const std::vector<std::pair<Value, Value>>& rows_of(Call& call) {
  const auto& rows = call.self.as_dict().items;
  call.run.spend(2 * rows.size());
  return rows;
}

Value items(Call& call) {
  std::vector<Value> items;
  for (const auto& [key, value] : rows_of(call)) items.push_back(Value::tuple({key, value}));
  return Value::list(std::move(items), Kind::view, "dict_items");
}

Value keys(Call& call) {
  std::vector<Value> items;
  for (const auto& row : rows_of(call)) items.push_back(row.first);
  return Value::list(std::move(items), Kind::view, "dict_keys");
}

Value values(Call& call) {
  std::vector<Value> items;
  for (const auto& row : rows_of(call)) items.push_back(row.second);
  return Value::list(std::move(items), Kind::view, "dict_values");
}

constexpr std::array<Builtin, 11> kListMethods = {{
    {"append", "*", changes},
    {"clear", "*", changes},
    {"copy", "", copy},
    {"count", "value", count},
    {"extend", "*", changes},
    {"index", "value", index},
    {"insert", "*", changes},
    {"pop", "*", changes},
    {"remove", "*", changes},
    {"reverse", "*", changes},
    {"sort", "*", changes},
}};

constexpr std::array<Builtin, 10> kDictMethods = {{
    {"clear", "*", changes},
    {"copy", "", copy},
    {"get", "key default", get},
    {"items", "", items},
    {"keys", "", keys},
    {"pop", "*", changes},
    {"popitem", "*", changes},
    {"setdefault", "*", changes},
    {"update", "*", changes},
    {"values", "", values},
}};

}  // namespace

std::span<const Builtin> list_methods() { return kListMethods; }
std::span<const Builtin> dict_methods() { return kDictMethods; }

}  // namespace qjl::engine::jinja
