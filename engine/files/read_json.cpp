// nlohmann-json over a text or a mapped file. It recurses in dump(), which is why only single values reach a message. Bounds are looked
// for before it parses: a callback of the parser could count as well, but then it searches the whole of a list whenever an object in
// it ends.
#include "read_json.hpp"

#include <vector>

#include "mapped_file.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

// Where the string ends that begins at `at`: its closing quote, or the end of the text.
std::size_t string_end(std::string_view text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at;
}

}  // namespace

void check_json_bounds(std::string_view text, const std::string& name, JsonObjects objects) {
  std::vector<int> keys(1);  // of the text itself and of each object or list that is open
  std::int64_t looks = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    switch (text[at]) {
      case '"': at = string_end(text, at); break;
      case '{':
      case '[':
        if (std::ssize(keys) > kJsonDepth) {
          refuse_json(name, "brackets deeper than " + std::to_string(kJsonDepth), "at most that many inside each other");
        }
        keys.push_back(0);
        break;
      case '}':
      case ']':
        if (keys.size() > 1) keys.pop_back();
        break;
      case ':':
        if (objects == JsonObjects::sorted) break;
        looks += keys.back();
        if (++keys.back() > kJsonKeys) {
          refuse_json(name, "an object of more than " + std::to_string(kJsonKeys) + " keys", "at most that many");
        }
        if (looks > kJsonLooks) {
          refuse_json(name,
                      "objects of so many keys that reading them takes more than " + std::to_string(kJsonLooks) + " comparisons",
                      "at most that many");
        }
        break;
      default: break;
    }
  }
}

nlohmann::ordered_json parse_json(std::string_view text) {
  check_json_bounds(text);
  return nlohmann::ordered_json::parse(text);
}

nlohmann::ordered_json parse_json_or_none(std::string_view text, const std::string& name) {
  check_json_bounds(text, name);
  return nlohmann::ordered_json::parse(text, nullptr, false);
}

void refuse_json(const std::string& name, const std::string& found, const std::string& wanted) {
  throw Error(ErrorKind::bad_file, "[" + name + "] found " + found + ", wanted " + wanted);
}

FileJson parse_json_object(std::string_view text, const std::string& name) {
  check_json_bounds(text, name, JsonObjects::sorted);
  FileJson json;
  try {
    json = FileJson::parse(text.begin(), text.end());
  } catch (const FileJson::parse_error& error) {
    refuse_json(name, "no JSON at byte " + std::to_string(error.byte) + " of " + std::to_string(text.size()), "an object of JSON");
  } catch (const FileJson::exception& error) {  // a number out of range
    refuse_json(name, printable(error.what()), "an object of JSON");
  }
  if (!json.is_object()) refuse_json(name, "a JSON " + std::string(json.type_name()), "an object");
  return json;
}

FileJson read_json_object(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::span<const std::byte> bytes = file.bytes();
  return parse_json_object({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

FileJson read_json_object_if_there(const std::filesystem::path& path) {
  return std::filesystem::exists(path) ? read_json_object(path) : FileJson();
}

std::string json_text(const FileJson& value) {
  if (value.is_structured()) return value.is_array() ? "a list" : "an object";
  return value.is_string() ? printable(value.get_ref<const std::string&>()) : value.dump();
}

const FileJson* find_json(const FileJson& object, const std::string& key) {
  const auto at = object.find(key);  // the end where it is no object
  return at == object.end() || at->is_null() ? nullptr : &*at;
}

std::string json_text_or_empty(const FileJson& object, const std::string& key, const std::string& name) {
  const FileJson* found = find_json(object, key);
  if (found == nullptr) return {};
  if (!found->is_string()) refuse_json(name, "`" + key + "` = " + json_text(*found), "a text");
  return found->get<std::string>();
}

bool json_boolean_or(const FileJson& object, const std::string& key, bool absent, const std::string& name) {
  const FileJson* found = find_json(object, key);
  if (found == nullptr) return absent;
  if (!found->is_boolean()) refuse_json(name, "`" + key + "` = " + json_text(*found), "true or false");
  return found->get<bool>();
}

}  // namespace qjl::engine
