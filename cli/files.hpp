// Text in, results out. A result file is written under another name and renamed, so that nobody ever sees half of it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace qjl::cli {

// The whole of a file; "-" reads standard input. Errors: qjl::Error io.
std::string read_text(const std::string& path);

// Fails now, not after the work: qjl::Error io when a file cannot be put at `path`. An empty path is standard output.
void check_output(const std::string& path);

// To standard output, at once. Errors: qjl::Error io when nobody reads it any more, or the disk behind it is full.
void print_text(std::string_view text);

// To `path`, or to standard output when it is empty. Errors: qjl::Error io; then a plain file at `path` is as it was.
void write_result(const std::string& path, const std::string& text);

// Indented JSON with a line end. Bytes that are not UTF-8 (a model file may hold any) become U+FFFD.
std::string json_text(const nlohmann::ordered_json& json);
// The same on one line, without an end.
std::string json_line(const nlohmann::ordered_json& json);

}  // namespace qjl::cli
