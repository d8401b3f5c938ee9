// Rows are kept by the text of their key fields; the file is written whole after each new one.
#include "result_rows.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <utility>

#include "files.hpp"
#include "qjl/error.hpp"
#include "read_json.hpp"

namespace qjl::cli {

ResultRows::ResultRows(std::string path, std::vector<std::string> key_fields)
    : path_(std::move(path)), key_fields_(std::move(key_fields)) {
  check_output(path_);
  if (!std::filesystem::exists(path_)) return;
  std::istringstream lines(read_text(path_));
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    Json row = Json::parse(line, engine::refuse_deep, false);
    if (!row.is_object()) {
      throw Error(ErrorKind::bad_file,
                  "[study] line " + std::to_string(number) + " of " + path_ + " is no JSON object, wanted a row");
    }
    put(std::move(row));
  }
}

std::string ResultRows::key_text(const Json& row) const {
  Json key = Json::array();
  for (const auto& field : key_fields_) key.push_back(row.contains(field) ? row[field] : Json());
  return key.dump();
}

const ResultRows::Json* ResultRows::find(const Json& key) const {
  const auto found = place_.find(key_text(key));
  return found == place_.end() ? nullptr : &rows_[found->second];
}

void ResultRows::put(Json row) {
  const auto [found, is_new] = place_.emplace(key_text(row), rows_.size());
  if (is_new) {
    rows_.push_back(std::move(row));
  } else {
    rows_[found->second] = std::move(row);
  }
}

void ResultRows::save() const {
  std::string text;
  for (const Json& row : rows_) text += row.dump() + "\n";
  write_result(path_, text);
}

double short_number(double x) { return std::strtod(fmt::format("{:.6g}", x).c_str(), nullptr); }

nlohmann::ordered_json short_numbers(const std::vector<double>& numbers) {
  auto json = nlohmann::ordered_json::array();
  for (const double x : numbers) json.push_back(short_number(x));
  return json;
}

}  // namespace qjl::cli
