// Field by field, with what was found in every refusal.
#include "fields.hpp"

#include <algorithm>
#include <cmath>

#include "printable.hpp"
#include "qjl/error.hpp"
#include "read_json.hpp"
#include "utf8.hpp"

namespace qjl::server {
namespace {

constexpr std::size_t kShownNames = 20, kShownBytes = 64;

[[noreturn]] void refuse_body(const std::string& found, const std::string& code) {
  throw Refused(Fault{.status = 400, .message = "found " + found + " as body, wanted a JSON object", .code = code});
}

bool is_empty(const Json& value) {
  return value.is_null() || value == false || (value.is_string() && value.get_ref<const std::string&>().empty()) ||
         ((value.is_array() || value.is_object()) && value.empty());
}

std::string range(double low, double high) { return "from " + Json(low).dump() + " to " + Json(high).dump(); }

}  // namespace

void refuse_field(const std::string& field, const std::string& found, const std::string& wanted, const std::string& code) {
  throw Refused(Fault{
      .status = 400, .message = "field `" + field + "`: found " + found + ", wanted " + wanted, .param = field, .code = code});
}

Json parse_body(std::string_view body) {
  if (engine::utf8_valid_prefix(body) != body.size()) refuse_body("bytes that are not UTF-8", "invalid_utf8");
  Json json;
  try {
    json = engine::parse_json(body);
  } catch (const Error&) {
    refuse_body("JSON deeper than " + std::to_string(engine::kJsonDepth) + " brackets, or an object of more than " +
                    std::to_string(engine::kJsonKeys) + " keys",
                "json_too_deep");
  } catch (const nlohmann::json::parse_error& error) {
    refuse_body("text that is no JSON (byte " + std::to_string(error.byte) + ")", "invalid_json");
  } catch (const nlohmann::json::exception&) {
    refuse_body("a number outside the range of doubles", "invalid_json");
  }
  if (!json.is_object()) refuse_body(describe(json), "invalid_json");
  return json;
}

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string describe(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null: return "null";
    case Json::value_t::boolean: return value.get<bool>() ? "true" : "false";
    case Json::value_t::string: {
      const auto& text = value.get_ref<const std::string&>();
      if (text.size() > kShownBytes) return "a text of " + std::to_string(text.size()) + " bytes";
      return "the text " + dump(value);
    }
    case Json::value_t::array: return "a list of " + std::to_string(value.size());
    case Json::value_t::object: return "an object";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
    case Json::value_t::number_float: return "the number " + value.dump();
    case Json::value_t::binary:
    case Json::value_t::discarded: break;
  }
  return "no JSON";
}

std::vector<std::int32_t> read_ids(const Json& list, const std::string& name, std::int64_t end) {
  if (!list.is_array()) refuse_field(name, describe(list), "a list of token ids");
  std::vector<std::int32_t> ids;
  ids.reserve(list.size());
  for (const Json& each : list) {
    const bool whole = each.is_number_integer();
    const bool fits = whole && (each.is_number_unsigned() ? each.get<std::uint64_t>() < static_cast<std::uint64_t>(end)
                                                          : each.get<std::int64_t>() >= 0 && each.get<std::int64_t>() < end);
    if (!fits) refuse_field(name, describe(each), "token ids from 0 to " + std::to_string(end - 1));
    ids.push_back(each.get<std::int32_t>());
  }
  return ids;
}

Fields::Fields(const Json& object, std::string prefix) : object_(object), prefix_(std::move(prefix)) {}

bool Fields::has(std::string_view name) const {
  const auto found = object_.find(name);
  return found != object_.end() && !found->is_null();
}

const Json* Fields::find(std::string_view name) {
  known_.emplace(name);
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const Json& Fields::required(std::string_view name, const std::string& wanted) {
  const Json* found = find(name);
  if (found == nullptr) refuse_field(full_name(name), "nothing", wanted, "missing_field");
  return *found;
}

std::optional<std::string> Fields::text(std::string_view name, std::size_t max_bytes) {
  const Json* found = find(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_string()) refuse_field(full_name(name), describe(*found), "a text");
  const auto& text = found->get_ref<const std::string&>();
  if (text.size() > max_bytes) refuse_field(full_name(name), describe(*found), "at most " + std::to_string(max_bytes) + " bytes");
  return text;
}

std::optional<bool> Fields::flag(std::string_view name) {
  const Json* found = find(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_boolean()) refuse_field(full_name(name), describe(*found), "true or false");
  return found->get<bool>();
}

std::optional<std::int64_t> Fields::whole(std::string_view name, std::int64_t low, std::int64_t high) {
  const Json* found = find(name);
  if (found == nullptr) return std::nullopt;
  const std::string wanted = "a whole number from " + std::to_string(low) + " to " + std::to_string(high);
  if (!found->is_number_integer()) refuse_field(full_name(name), describe(*found), wanted);
  const bool huge = found->is_number_unsigned() && found->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  const auto value = huge ? 0 : found->get<std::int64_t>();
  if (huge || value < low || value > high) refuse_field(full_name(name), describe(*found), wanted);
  return value;
}

std::optional<double> Fields::number(std::string_view name, double low, double high) {
  const Json* found = find(name);
  if (found == nullptr) return std::nullopt;
  const std::string wanted = "a number " + range(low, high);
  if (!found->is_number()) refuse_field(full_name(name), describe(*found), wanted);
  const auto value = found->get<double>();
  if (!(value >= low && value <= high)) refuse_field(full_name(name), describe(*found), wanted);
  return value;
}

std::vector<std::string> Fields::texts(std::string_view name, std::size_t max_count) {
  const Json* found = find(name);
  if (found == nullptr) return {};
  const std::string wanted = "a text or up to " + std::to_string(max_count) + " texts, none empty";
  const Json list = found->is_string() ? Json::array({*found}) : *found;
  if (!list.is_array() || list.size() > max_count) refuse_field(full_name(name), describe(*found), wanted);
  std::vector<std::string> texts;
  for (const Json& each : list) {
    if (!each.is_string() || each.get_ref<const std::string&>().empty()) refuse_field(full_name(name), describe(each), wanted);
    texts.push_back(each.get<std::string>());
  }
  return texts;
}

std::vector<std::int32_t> Fields::ids(std::string_view name, std::int64_t end) {
  const Json* found = find(name);
  return found == nullptr ? std::vector<std::int32_t>{} : read_ids(*found, full_name(name), end);
}

std::optional<Fields> Fields::object(std::string_view name) {
  const Json* found = find(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_object()) refuse_field(full_name(name), describe(*found), "an object");
  return Fields(*found, full_name(name) + ".");
}

void Fields::refuse(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const Json* found = find(name);
    if (found != nullptr && !is_empty(*found))
      refuse_field(full_name(name), describe(*found), "nothing: this server does not do it", "unsupported_parameter");
  }
}

void Fields::accept(std::initializer_list<const char*> names) {
  for (const char* name : names) known_.emplace(name);
}

std::vector<std::string> Fields::unknown() const {
  std::vector<std::string> names;
  for (const auto& [key, value] : object_.items()) {
    if (known_.contains(key) || names.size() == kShownNames) continue;
    std::string name = full_name(key).substr(0, kShownBytes);
    std::replace_if(name.begin(), name.end(), [](char c) { return c <= ' ' || c > '~' || c == ','; }, '?');
    names.push_back(std::move(name));
  }
  return names;
}

}  // namespace qjl::server
