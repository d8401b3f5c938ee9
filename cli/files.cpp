// Files as the verbs need them: read whole; results to a file (result_file.hpp) or to standard output.
#include "files.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>

#include "qjl/error.hpp"
#include "result_file.hpp"
#include "terminal_text.hpp"

namespace qjl::cli {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& what, const std::string& path) {
  throw Error(ErrorKind::io, what + " " + path + ": " + std::strerror(errno));
}

std::string read_all(std::istream& stream) { return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()}; }

}  // namespace

std::string read_text(const std::string& path) {
  if (path == "-") return read_all(std::cin);
  if (fs::is_directory(path)) throw Error(ErrorKind::io, "[read] found a folder at " + path + ", wanted a text file");
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  if (!stream) fail("[read] cannot open text file", path);
  std::string text = read_all(stream);
  if (stream.bad()) fail("[read] cannot read text file", path);
  return text;
}

void check_output(const std::string& path) {
  if (!path.empty()) check_result_place(path);
}

void print_text(std::string_view text) {
  std::cout << (isatty(STDOUT_FILENO) == 1 ? shown_text(text) : std::string(text)) << std::flush;
  if (!std::cout) throw Error(ErrorKind::io, "[write] standard output is closed or full");
}

void write_result(const std::string& path, const std::string& text) {
  if (path.empty()) return print_text(text);
  write_result_file(path, text);
}

std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string json_line(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace qjl::cli
