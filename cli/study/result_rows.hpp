// Results of a study: a file of JSON lines, one row each, that a second run takes up where the first one stopped.
//
// A row is found by its key fields; a new row replaces the one with the same key. The file is written whole under another name and
// renamed, so that an interrupted study leaves the rows that were done.
#pragma once

#include <cstddef>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace qjl::cli {

class ResultRows {
 public:
  using Json = nlohmann::ordered_json;

  // Reads `path` when it is there. Errors: qjl::Error io, bad_file with the line that is no row.
  ResultRows(std::string path, std::vector<std::string> key_fields);

  // The row with the key fields of `key`, null when there is none.
  const Json* find(const Json& key) const;
  void put(Json row);
  void save() const;

 private:
  std::string key_text(const Json& row) const;

  std::string path_;
  std::vector<std::string> key_fields_;
  std::vector<Json> rows_;
  std::map<std::string, std::size_t> place_;  // of a key's row
};

// The number with six significant digits: what a result file keeps.
double short_number(double x);
nlohmann::ordered_json short_numbers(const std::vector<double>& numbers);

}  // namespace qjl::cli
