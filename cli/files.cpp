// Files as the verbs need them: read whole, written under another name and renamed.
#include "files.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>

#include "qjl/error.hpp"

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
  if (path.empty()) return;
  if (fs::is_directory(path)) throw Error(ErrorKind::io, "[write] found a folder at " + path + ", wanted a file name");
  const fs::path folder = fs::absolute(path).parent_path();
  if (access(folder.c_str(), W_OK) != 0) fail("[write] cannot write in folder", folder.string());
}

void write_result(const std::string& path, const std::string& text) {
  if (path.empty()) {
    std::cout << text << std::flush;
    if (!std::cout) throw Error(ErrorKind::io, "[write] standard output is closed or full");
    return;
  }
  const std::string part = path + ".part" + std::to_string(getpid());
  errno = 0;
  std::ofstream stream(part, std::ios::binary | std::ios::trunc);
  stream << text;
  stream.close();
  if (!stream || std::rename(part.c_str(), path.c_str()) != 0) {
    const int reason = errno;
    std::remove(part.c_str());
    errno = reason;
    fail("[write] cannot write", path);
  }
}

std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace qjl::cli
