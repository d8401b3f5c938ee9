// By recursion, whose depth is checked before it is made.
#include "from_json.hpp"

#include <limits>

namespace qjl::engine::jinja {
namespace {

using Json = nlohmann::ordered_json;

Value number(const Json& json) {
  if (json.is_number_unsigned() &&
      json.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return Value::number(json.get<double>());
  }
  return json.is_number_float() ? Value::number(json.get<double>()) : Value::integer(json.get<std::int64_t>());
}

Value convert(const Json& json, int depth) {
  if (depth > kMaxValueDepth) throw Fault("found JSON deeper than " + std::to_string(kMaxValueDepth) + ", wanted less");
  switch (json.type()) {
    case Json::value_t::boolean: return Value::boolean(json.get<bool>());
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
    case Json::value_t::number_float: return number(json);
    case Json::value_t::string: return Value::text(json.get_ref<const std::string&>(), Origin::words);
    case Json::value_t::array: {
      std::vector<Value> items;
      for (const Json& item : json) items.push_back(convert(item, depth + 1));
      return Value::list(std::move(items));
    }
    case Json::value_t::object: {
      Dict dict;
      for (const auto& [key, item] : json.items()) dict.set(Value::text(key, Origin::words), convert(item, depth + 1));
      return Value::dict(std::move(dict));
    }
    case Json::value_t::null:
    case Json::value_t::binary:
    case Json::value_t::discarded: break;
  }
  return {};
}

}  // namespace

Value from_json(const Json& json) { return convert(json, 0); }

}  // namespace qjl::engine::jinja
