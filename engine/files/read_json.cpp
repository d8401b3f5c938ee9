// nlohmann-json over a mapped file. It recurses in dump(), which is why only single values reach a message.
#include "read_json.hpp"

#include "mapped_file.hpp"
#include "printable.hpp"
#include "qjl/error.hpp"

namespace qjl::engine {
namespace {

// The depth of the brackets outside of strings, before anything is built: nlohmann-json's own hook (a callback of the parser) looks at
// all elements of a list again whenever one of them ends.
void check_depth(std::string_view text, const std::string& name) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kJsonDepth)
        refuse_json(name, "brackets deeper than " + std::to_string(kJsonDepth), "at most that many inside each other");
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

}  // namespace

void refuse_json(const std::string& name, const std::string& found, const std::string& wanted) {
  throw Error(ErrorKind::bad_file, "[" + name + "] found " + found + ", wanted " + wanted);
}

FileJson parse_json_object(std::string_view text, const std::string& name) {
  check_depth(text, name);
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
  if (!object.is_object()) return nullptr;
  const auto at = object.find(key);
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
