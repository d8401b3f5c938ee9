// Cases of `qjl study retrieval`: JSON lines of a context and questions about it.
//
//   {"case", "type", "length", "context", "questions": [{"question", "depth", "prefix", "answer"}]}
//
// Texts but for `case`, which may be anything, `length`, a whole number, and `depth`, a number; type, length and depth may be
// absent.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace qjl::cli {

// One object a line, in this form. Errors: qjl::Error bad_file with the line that is no case; `name` is the file's.
std::vector<nlohmann::ordered_json> read_cases(const std::string& text, const std::string& name);

}  // namespace qjl::cli
