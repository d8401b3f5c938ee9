// One look at the text before it is parsed. A callback of the parser could count as well, but nlohmann-json with a callback searches the
// whole of an array whenever an object in it ends.
#include <array>
#include <string>
#include <string_view>

#include "read_json.hpp"

namespace qjl::engine {
namespace {

[[noreturn]] void refuse(const std::string& found, const std::string& wanted) {
  throw Error(ErrorKind::bad_file, "[json] found " + found + ", wanted " + wanted);
}

// Where the string ends that begins at `at`: its closing quote, or the end of the text.
std::size_t string_end(std::string_view text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at;
}

}  // namespace

void check_json_bounds(std::string_view text) {
  std::array<int, kJsonDepth + 1> keys{};  // of the object at each depth
  std::size_t depth = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    switch (text[at]) {
      case '"': at = string_end(text, at); break;
      case '{':
      case '[':
        if (depth == kJsonDepth) {
          refuse("brackets deeper than " + std::to_string(kJsonDepth), "at most that many inside each other");
        }
        keys[++depth] = 0;
        break;
      case '}':
      case ']':
        if (depth > 0) --depth;
        break;
      case ':':
        if (++keys[depth] > kJsonKeys) {
          refuse("an object of more than " + std::to_string(kJsonKeys) + " keys", "at most that many");
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

nlohmann::ordered_json parse_json_or_none(std::string_view text) {
  check_json_bounds(text);
  return nlohmann::ordered_json::parse(text, nullptr, false);
}

}  // namespace qjl::engine
