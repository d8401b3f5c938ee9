// Results of a study: a file of JSON lines, one row each, that a second run takes up where the first one stopped.
//
// A row is found by its key fields; a new row replaces the one with the same key. The file is written whole under another name and
// renamed, so that an interrupted study leaves the rows that were done. Several studies may keep their rows in one file: each writes its
// new rows into what the file then holds, one at a time.
#pragma once

#include <cstddef>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
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
  // A row that this study made.
  void put(Json row);
  // Puts the new rows into the file, and takes up those of others. Errors: as of the constructor and write_result().
  void save();

 private:
  std::string key_text(const Json& row) const;
  void read();  // rows of the file, but for those made here
  void place(const std::string& key, Json row);

  std::string path_;
  std::vector<std::string> key_fields_;
  std::vector<Json> rows_;
  std::map<std::string, std::size_t> place_;  // of a key's row
  std::set<std::string> made_;                // keys of rows made here
};

// The number with six significant digits: what a result file keeps.
double short_number(double x);
nlohmann::ordered_json short_numbers(const std::vector<double>& numbers);

}  // namespace qjl::cli
