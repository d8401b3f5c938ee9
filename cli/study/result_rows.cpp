// Rows are kept by the text of their key fields; the file is written whole after each new one, with what others put into it meanwhile.
#include "result_rows.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <utility>

#include "files.hpp"
#include "interrupt.hpp"
#include "qjl/error.hpp"
#include "read_json.hpp"

namespace qjl::cli {

namespace {

// Of the folder, while the file is read and written anew: the file itself is another one afterwards. Where the system has no locks the
// last writer wins, as before.
class FolderLock {
 public:
  explicit FolderLock(const std::string& path)
      : folder_(::open(std::filesystem::absolute(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    while (folder_ >= 0 && ::flock(folder_, LOCK_EX) != 0 && errno == EINTR) check_interrupt();
  }
  ~FolderLock() {
    if (folder_ >= 0) ::close(folder_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int folder_;
};

}  // namespace

ResultRows::ResultRows(std::string path, std::vector<std::string> key_fields)
    : path_(std::move(path)), key_fields_(std::move(key_fields)) {
  check_output(path_);
  read();
}

void ResultRows::read() {
  if (!std::filesystem::is_regular_file(path_)) return;  // of a device or FIFO nothing is taken up
  std::istringstream lines(read_text(path_));
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    Json row = engine::parse_json_or_none(line, path_ + " line " + std::to_string(number));
    if (!row.is_object()) {
      throw Error(ErrorKind::bad_file,
                  "[study] line " + std::to_string(number) + " of " + path_ + " is no JSON object, wanted a row");
    }
    const std::string key = key_text(row);
    if (made_.count(key) == 0) place(key, std::move(row));
  }
}

std::string ResultRows::key_text(const Json& row) const {
  Json key = Json::array();
  for (const auto& field : key_fields_) key.push_back(row.contains(field) ? row[field] : Json());
  return json_line(key);
}

const ResultRows::Json* ResultRows::find(const Json& key) const {
  const auto found = place_.find(key_text(key));
  return found == place_.end() ? nullptr : &rows_[found->second];
}

void ResultRows::put(Json row) {
  const std::string key = key_text(row);
  made_.insert(key);
  place(key, std::move(row));
}

void ResultRows::place(const std::string& key, Json row) {
  const auto [found, is_new] = place_.emplace(key, rows_.size());
  if (is_new) {
    rows_.push_back(std::move(row));
  } else {
    rows_[found->second] = std::move(row);
  }
}

void ResultRows::save() {
  const FolderLock alone(path_);
  read();
  std::string text;
  for (const Json& row : rows_) text += json_line(row) + "\n";
  write_result(path_, text);
}

double short_number(double x) { return std::strtod(fmt::format("{:.6g}", x).c_str(), nullptr); }

nlohmann::ordered_json short_numbers(const std::vector<double>& numbers) {
  auto json = nlohmann::ordered_json::array();
  for (const double x : numbers) json.push_back(short_number(x));
  return json;
}

}  // namespace qjl::cli
