// Reads the cases field by field; what is missing or of another kind is a bad file.
#include "retrieval_cases.hpp"

#include <algorithm>
#include <sstream>

#include "qjl/error.hpp"
#include "read_json.hpp"

namespace qjl::cli {
namespace {

using Json = nlohmann::ordered_json;

bool has_text(const Json& object, const char* key) { return object.contains(key) && object[key].is_string(); }

bool is_question(const Json& asked) {
  return asked.is_object() && has_text(asked, "question") && has_text(asked, "prefix") && has_text(asked, "answer") &&
         (!asked.contains("depth") || asked["depth"].is_number());
}

bool is_case(const Json& one) {
  if (!one.is_object() || !one.contains("case") || !has_text(one, "context")) return false;
  if (one.contains("type") && !one["type"].is_string()) return false;
  if (one.contains("length") && !one["length"].is_number_integer()) return false;
  if (!one.contains("questions") || !one["questions"].is_array()) return false;
  return std::all_of(one["questions"].begin(), one["questions"].end(), is_question);
}

}  // namespace

std::vector<Json> read_cases(const std::string& text, const std::string& name) {
  std::vector<Json> cases;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    Json one = engine::parse_json_or_none(line, name + " line " + std::to_string(cases.size() + 1));
    if (!is_case(one)) {
      throw Error(ErrorKind::bad_file, "[study] line " + std::to_string(cases.size() + 1) + " of " + name +
                                           " is no case, wanted case, context and questions of question, prefix and answer");
    }
    cases.push_back(std::move(one));
  }
  return cases;
}

}  // namespace qjl::cli
