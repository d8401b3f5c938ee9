// Reads the fields of a request's JSON object: types, ranges, and which were never asked for.
//
// null is absent, as clients write it. A wrong field is a Refused with status 400 that names it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "fault.hpp"
#include "json.hpp"

namespace qjl::server {

// Thrown by whatever reads a request; becomes the answer.
class Refused : public std::runtime_error {
 public:
  explicit Refused(Fault fault) : std::runtime_error(fault.message), fault_(std::move(fault)) {}
  const Fault& fault() const { return fault_; }

 private:
  Fault fault_;
};
// Status 400 with the field's name.
[[noreturn]] void refuse_field(const std::string& field, const std::string& found, const std::string& wanted,
                               const std::string& code = "invalid_value");

// The JSON of a body. Refused: not UTF-8, no JSON, a number outside doubles, brackets deeper than 64, no object.
Json parse_body(std::string_view body);
// The text of an answer; bytes that are not UTF-8 become U+FFFD.
std::string dump(const Json& json);

class Fields {
 public:
  // Keeps a reference. prefix: of names in messages, "stream_options." for a field's own fields.
  explicit Fields(const Json& object, std::string prefix = {});

  bool has(std::string_view name) const;  // there and not null
  const Json* find(std::string_view name);
  const Json& required(std::string_view name, const std::string& wanted);

  std::optional<std::string> text(std::string_view name, std::size_t max_bytes = kMaxText);
  std::optional<bool> flag(std::string_view name);
  std::optional<std::int64_t> whole(std::string_view name, std::int64_t low, std::int64_t high);
  std::optional<double> number(std::string_view name, double low, double high);
  // A text or a list of texts, none empty.
  std::vector<std::string> texts(std::string_view name, std::size_t max_count);
  // A list of whole numbers in [0, end).
  std::vector<std::int32_t> ids(std::string_view name, std::int64_t end);
  std::optional<Fields> object(std::string_view name);

  // Known and not done here: each would change the answer, so a value that is not empty is refused.
  void refuse(std::initializer_list<const char*> names);
  // Known, without meaning here.
  void accept(std::initializer_list<const char*> names);
  // Fields that nobody asked for, by name; names are cut to 64 bytes and hold printable ASCII alone, the first 20.
  std::vector<std::string> unknown() const;

  std::string full_name(std::string_view name) const { return prefix_ + std::string(name); }

  static constexpr std::size_t kMaxText = 16 << 20;

 private:
  const Json& object_;
  std::string prefix_;
  std::set<std::string, std::less<>> known_;
};

// A list of whole numbers in [0, end) as token ids; `name` stands in the refusal.
std::vector<std::int32_t> read_ids(const Json& list, const std::string& name, std::int64_t end);
// "a text of 12 bytes", "the number 3.5", "a list of 2" ...
std::string describe(const Json& value);

}  // namespace qjl::server
